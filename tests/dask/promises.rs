//! What a pool promises, on Dask.

use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use trefoil::process::machines::Dask;
use trefoil::process::{Bulk, Shared, SharedAtomics};
use trefoil::{AnyExecutor, Executor, ProcessPool, Remote, TaskError};

use crate::cluster::{Cluster, Listener, call, call_and_wait, directory, python};
use crate::support::{Scratch, Test, note, noted, signal, tests, until};

static TABLE: OnceLock<u64> = OnceLock::new();

tests! {
    fn calls_maps_and_streams_give_what_they_do_here() {
        let procs = Cluster::shared().pool();
        assert_eq!(procs.num_workers(), 24, "four for each thread");
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        let squares = procs.map(0..30_000u64, |n| n * n).unwrap();
        assert!(squares.iter().zip(0..).all(|(square, n): (_, u64)| *square == n * n));
        let sum: u64 = procs.imap(0..3000u64, |n: u64| n).map(Result::unwrap).sum();
        assert_eq!(sum, 3000 * 2999 / 2);
        let mut all: Vec<u64> = procs.imap_unordered(0..500u64, |n: u64| n).map(Result::unwrap).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..500));
        let words = vec!["a".to_owned(), "b".to_owned()];
        let joined = procs.map_with(&words, 0..200usize, |words: &Vec<String>, n: usize| words[n % 2].clone());
        assert_eq!(joined.unwrap().concat(), "ab".repeat(100));
        let large = procs.spawn(Bulk::from(vec![3u8; 3 << 20]), |bytes: Bulk<u8>| bytes).join().unwrap();
        assert_eq!((large.len(), large[0]), (3 << 20, 3));
        let named = procs.call(|n: u32| n + 1).chunk(7).name("plus").map(0..100).unwrap();
        assert!(named.into_iter().eq(1..=100));
        let stats = procs.stats();
        assert_eq!((stats.failed, stats.died), (0, 0));
    }

    fn a_panic_and_a_death_cost_their_item_alone() {
        let procs = Cluster::shared().pool();
        let panicked = procs.spawn(3, |n: u32| -> () { panic!("no {n}") }).join().unwrap_err();
        assert!(panicked.to_string().contains("no 3"), "{panicked}");
        let ended = procs.spawn(5, |code: i32| -> () { eprintln!("last words"); std::process::exit(code) });
        let Err(TaskError::WorkerDied(exit)) = ended.join() else { panic!("it lives") };
        assert_eq!((exit.code(), exit.stderr_tail()), (Some(5), "last words\n"));
        let each = procs.call(|n: u32| if n == 7 { std::process::abort() } else { n });
        let results = each.chunk(20).map_each(0..20);
        for (result, n) in results.into_iter().zip(0..) {
            match result {
                Ok(value) => assert_eq!(value, n),
                Err(TaskError::WorkerDied(exit)) => assert_eq!((n, exit.signal()), (7, Some(6))),
                Err(error) => panic!("{error}"),
            }
        }
        let marks = Scratch::new("dask-retry");
        let again = procs.call(|path: String| {
            note(&path, 1);
            if noted(&path) < 2 { std::process::abort() }
        });
        again.retry(1).spawn(marks.text()).join().unwrap();
        assert_eq!(marks.notes().len(), 2);
    }

    fn long_calls_take_their_turn_before_short_ones() {
        let procs = Cluster::shared().pool();
        let same = |n: u64| n;
        // From now on it is known that they are short.
        procs.call(same).chunk(1).map(0..300).unwrap();
        let long: Vec<_> = (0..40u64).map(|n| procs.spawn(n, |n| {
            std::thread::sleep(Duration::from_millis(20));
            n
        })).collect();
        let short: Vec<_> = (0..20_000u64).map(|n| procs.spawn(n, same)).collect();
        for (task, n) in long.into_iter().zip(0..) {
            assert_eq!(task.join().unwrap(), n);
        }
        let left = short.iter().filter(|task| !task.is_finished()).count();
        assert!(left > 1000, "they waited for those behind them, of which {left} are left");
        short.iter().for_each(|task| _ = task.cancel());
    }

    fn short_calls_travel_together_and_each_ends_by_itself() {
        let procs = Cluster::shared().pool();
        let listener = Listener::new();
        let call = procs.call(|(n, path): (u64, String)| {
            match n {
                20 => call_and_wait(&path),
                21 => std::process::abort(),
                _ => {}
            }
            n
        });
        let items = |from: u64, to: u64| (from..to).map(|n| (n, listener.path.clone())).collect::<Vec<_>>();
        // From now on it is known that they are short.
        assert!(call.clone().chunk(1).map(items(100, 400)).unwrap().into_iter().eq(100..400));
        for _ in 0..3 {
            let tasks: Vec<_> = items(0, 40).into_iter().map(|item| call.spawn(item)).collect();
            let waiting = listener.accept();
            let mut waits = None;
            for (task, n) in tasks.into_iter().zip(0..) {
                match n {
                    20 => waits = Some(task),
                    21 => assert!(matches!(task.join(), Err(TaskError::WorkerDied(exit)) if exit.signal() == Some(6))),
                    _ => assert_eq!(task.join().unwrap(), n, "it does not wait for the one that does"),
                }
            }
            let waits = waits.unwrap();
            waits.cancel();
            waiting.ends();
            assert!(matches!(waits.join(), Err(TaskError::Cancelled)));
        }
        assert_eq!(procs.stats().died, 3, "no other was lost");
    }

    fn what_is_cancelled_or_late_is_ended_there() {
        let procs = Cluster::shared().pool();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        task.cancel();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        running.ends();
        let late = procs.call(|path: String| call_and_wait(&path)).timeout(Duration::from_millis(50));
        let late = late.spawn(listener.path.clone());
        let running = listener.accept();
        assert!(matches!(late.join(), Err(TaskError::TimedOut(_))));
        running.ends();
        let in_time = procs.call(|n: u64| n).timeout(Duration::from_secs(60)).map(0..100).unwrap();
        assert_eq!(in_time.len(), 100);
        let stats = procs.stats();
        assert_eq!((stats.timed_out, stats.died), (1, 0), "the pool's own workers stay");
    }

    fn an_item_that_looks_at_its_token_ends_by_itself() {
        let cluster = Cluster::shared();
        let procs = ProcessPool::builder().on(cluster.dask()).grace(Duration::from_secs(600)).build().unwrap();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| {
            let stream = call(&path);
            while !trefoil::CancelToken::current().is_cancelled() {
                std::thread::yield_now();
            }
            drop(stream);
        });
        let running = listener.accept();
        task.cancel();
        running.ends();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }

    fn each_process_is_initialized_and_one_that_fails_is_told() {
        let cluster = Cluster::shared();
        let builder = || ProcessPool::builder().on(cluster.dask()).workers(4);
        let procs = builder().initializer(5, |n: u64| TABLE.set(n).unwrap()).build().unwrap();
        let all = procs.call(|n: u64| n + TABLE.get().unwrap()).chunk(1).map(0..50).unwrap();
        assert!(all.into_iter().eq(5..55));
        let broken = builder().initializer(5, |n: u64| panic!("no table {n}")).build().unwrap();
        let error = broken.spawn((), |()| ()).join().unwrap_err();
        assert!(error.to_string().contains("no table 5"), "{error}");
    }

    fn memory_and_ends_do_not_travel() {
        let procs = Cluster::shared().pool();
        let shared = Shared::from(vec![1u8; 100]);
        let error = procs.spawn(shared.clone(), |shared: Shared<u8>| shared.len()).join().unwrap_err();
        assert!(error.to_string().contains("use `map_with`"), "{error}");
        let error = procs.map_with(&shared, 0..3usize, |shared: &Shared<u8>, n: usize| shared[n]).unwrap_err();
        assert!(error.to_string().contains("use `map_with`"), "{error}");
        let atomics = SharedAtomics::<std::sync::atomic::AtomicU64>::new(1).unwrap();
        let error = procs.spawn(atomics, |_: SharedAtomics<std::sync::atomic::AtomicU64>| ()).join().unwrap_err();
        assert!(error.to_string().contains("only bytes can be sent"), "{error}");
        let (sender, _receiver) = trefoil::process::channel::<u64>(1).unwrap();
        let error = procs.spawn(sender, |_: trefoil::process::channel::Sender<u64>| ()).join().unwrap_err();
        assert!(error.to_string().contains("only bytes can be sent"), "{error}");
        assert_eq!(procs.spawn(1, |n: u8| n).join().unwrap(), 1, "the pool goes on");
    }

    fn a_program_that_is_not_there_travels() {
        runs_from_copies("nowhere");
    }

    fn a_program_that_is_there_is_copied_before_it_runs() {
        // The file there could be another user's, who writes to it after it was compared.
        runs_from_copies("somewhere");
    }

    fn more_workers_than_the_gateway_takes_at_once() {
        let cluster = Cluster::shared();
        // (Fewer, if there are not so many descriptors.)
        let procs = ProcessPool::builder().on(cluster.dask()).workers(1000).build().unwrap();
        let sum: u64 = procs.call(|n: u64| n).chunk(1).map(0..800).unwrap().iter().sum();
        assert_eq!((sum, procs.stats().died), (800 * 799 / 2, 0));
    }

    fn a_gateway_that_does_not_read_hears_it_later() {
        let cluster = Cluster::shared();
        let procs = cluster.pool();
        let all: Vec<_> = (0..600).map(|n| procs.spawn_remote(n, |n: u64| n)).collect();
        all.iter().for_each(|one| one.ready().join().unwrap());
        assert!(cluster.keys() >= 600);
        let gateway = gateway();
        signal(gateway, Signal::STOP);
        drop(all);
        signal(gateway, Signal::CONT);
        until(|| cluster.keys() == 0);
    }

    fn settings_reach_the_processes_there() {
        let cluster = Cluster::shared();
        let procs = ProcessPool::builder().on(cluster.dask()).env("TREFOIL_TEST_THERE", "here").workers(2);
        let procs = procs.max_tasks_per_worker(1).build().unwrap();
        let there = |()| (std::env::var("TREFOIL_TEST_THERE").unwrap_or_default(), std::process::id());
        let (first, second) = (procs.spawn((), there).join().unwrap(), procs.spawn((), there).join().unwrap());
        assert_eq!((first.0.as_str(), second.0.as_str()), ("here", "here"));
        assert_ne!(first.1, second.1, "a process of its own for each");
        let procs = ProcessPool::builder().on(cluster.dask()).memory_limit(256 << 20).build().unwrap();
        let much = procs.spawn(1usize << 30, |bytes: usize| vec![1u8; bytes].len()).join();
        let Err(TaskError::WorkerDied(exit)) = much else { panic!("{much:?}") };
        assert!(exit.out_of_memory());
    }

    fn results_stay_on_the_cluster() {
        let procs = Cluster::shared().pool();
        for size in [0usize, 10, 3 << 20] {
            let one = procs.spawn_remote(size, |size| vec![1u8; size]);
            let two = procs.spawn_remote(one.clone(), |one: Remote<Vec<u8>>| one.iter().map(|n| n + 1).collect::<Vec<u8>>());
            let sum = procs.spawn((one.clone(), vec![two.clone()]), |(one, two): (Remote<Vec<u8>>, Vec<Remote<Vec<u8>>>)| {
                one.iter().chain(&**two[0]).map(|n| usize::from(*n)).sum::<usize>()
            });
            assert_eq!(sum.join().unwrap(), 3 * size);
            assert_eq!(two.fetch().join().unwrap(), vec![2; size]);
            one.ready().join().unwrap();
            let lengths = procs.map(vec![one; 9], |one: Remote<Vec<u8>>| one.len());
            assert_eq!(lengths.unwrap(), [size; 9]);
        }
        // A tree.
        let mut sums: Vec<Remote<u64>> = (1..=16).map(|n| procs.spawn_remote(n, |n: u64| n)).collect();
        while sums.len() > 1 {
            let add = |pair: Vec<Remote<u64>>| pair.iter().map(|n| **n).sum::<u64>();
            sums = sums.chunks(2).map(|pair| procs.spawn_remote(pair.to_vec(), add)).collect();
        }
        assert_eq!(sums[0].fetch().join().unwrap(), 136);
    }

    fn what_needs_a_result_runs_where_it_lies() {
        let procs = Cluster::shared().pool();
        // (So large that moving it would take Dask longer than waiting.)
        let large = procs.spawn_remote(48usize << 20, |size| {
            let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
            (parent, Bulk::from(vec![1u8; size]))
        });
        large.ready().join().unwrap();
        for _ in 0..6 {
            let same = procs.spawn(large.clone(), |large: Remote<(i32, Bulk<u8>)>| {
                large.0 == rustix::process::getppid().unwrap().as_raw_nonzero().get()
            });
            assert!(same.join().unwrap(), "on the same worker of Dask's");
        }
    }

    fn a_result_that_is_none_is_an_error_of_all_who_need_it() {
        let cluster = Cluster::shared();
        let procs = cluster.pool();
        let no = procs.spawn_remote(3, |n: u64| -> u64 { panic!("no {n}") });
        let behind = procs.spawn(no.clone(), |n: Remote<u64>| *n).join().unwrap_err().to_string();
        let own = no.fetch().join().unwrap_err().to_string();
        assert!(own.contains("no 3") && behind.contains("no 3"), "{own}, {behind}");
        let died = procs.spawn_remote(3, |code: i32| -> u64 { std::process::exit(code) }).fetch().join();
        assert!(matches!(&died, Err(TaskError::WorkerDied(exit)) if exit.code() == Some(3)), "{died:?}");
        let brings = procs.spawn_remote((), |()| Shared::from(vec![1u8])).fetch().join().unwrap_err().to_string();
        assert!(brings.contains("cannot be kept"), "{brings}");
        let late = procs.call(|()| -> u64 { crate::support::forever() }).timeout(Duration::from_millis(50));
        assert!(matches!(late.spawn_remote(()).fetch().join(), Err(TaskError::TimedOut(_))));
        // A result of another pool.
        let here = procs.spawn_remote(1, |n: u64| n);
        here.ready().join().unwrap();
        let other = cluster.pool();
        let error = other.spawn(here, |n: Remote<u64>| *n).join().unwrap_err().to_string();
        assert!(error.contains("of this pool's"), "{error}");
    }

    fn what_nobody_has_is_freed_there() {
        let cluster = Cluster::shared();
        let procs = cluster.pool();
        let all: Vec<_> = (0..10).map(|n| procs.spawn_remote(n, |n: u64| n)).collect();
        let sum = procs.spawn(all.clone(), |all: Vec<Remote<u64>>| all.iter().map(|n| **n).sum::<u64>());
        assert_eq!(sum.join().unwrap(), 45);
        assert!(cluster.keys() >= 10);
        drop(all);
        until(|| cluster.keys() == 0);
        let listener = Listener::new();
        let dropped = procs.spawn_remote(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        drop(dropped);
        running.ends();
    }

    fn a_result_that_is_lost_is_made_again() {
        let mut cluster = Cluster::start(2);
        let procs = cluster.pool();
        let made = procs.spawn_remote((), |()| rustix::process::getppid().unwrap().as_raw_nonzero().get());
        let other = procs.spawn_remote(made.clone(), |made: Remote<i32>| *made);
        let first = made.fetch().join().unwrap();
        other.ready().join().unwrap();
        cluster.grow();
        signal(u32::try_from(first).unwrap(), Signal::KILL);
        let second = made.fetch().join().unwrap();
        assert_ne!(first, second);
        let sum = procs.spawn((made, other), |(made, other): (Remote<i32>, Remote<i32>)| (*made, *other)).join();
        assert_eq!(sum.unwrap().0, second);
    }

    fn what_a_call_needs_of_the_cluster_is_told_to_it() {
        let cluster = Cluster::with(&["--resources", "GPU=1"]);
        let procs = cluster.pool();
        let listener = Listener::new();
        // One at a time, although there are two threads.
        let call = procs.call(|path: String| call_and_wait(&path)).resource("GPU", 1);
        let tasks: Vec<_> = (0..2).map(|_| call.spawn(listener.path.clone())).collect();
        let first = listener.accept();
        let plain = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let second = listener.accept();
        second.go_on();
        plain.join().unwrap();
        assert!(!tasks.iter().any(trefoil::Task::is_finished));
        first.go_on();
        listener.accept().go_on();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        // An item that needs a resource which no worker has waits, and can be cancelled.
        let never = procs.call(|n: u64| n).resource("TPU", 1).spawn(1);
        assert_eq!(procs.spawn(2, |n: u64| n).join().unwrap(), 2);
        assert!(!never.is_finished());
        never.cancel();
        // The most urgent items run first. Both threads are busy until all have been sent.
        let busy: Vec<_> = (0..2).map(|_| procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path))).collect();
        let running: Vec<_> = (0..2).map(|_| listener.accept()).collect();
        let marks = Scratch::new("dask-urgent");
        let mark = procs.call(|(path, n): (String, u64)| note(&path, n)).chunk(1);
        let tasks: Vec<_> = (0..5i32).map(|n| {
            mark.clone().priority(n).spawn((marks.text(), u64::try_from(n).unwrap()))
        }).collect();
        until(|| cluster.keys() == 7);
        let mut running = running.into_iter();
        running.next().unwrap().go_on();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        running.next().unwrap().go_on();
        busy.into_iter().for_each(|task| task.join().unwrap());
        // (Dask has given the first item to a worker already.)
        let rest: Vec<u64> = marks.notes().into_iter().filter(|n| *n != 0).collect();
        assert_eq!(rest, [4, 3, 2, 1]);
    }

    fn an_executor_can_be_named() {
        let address = Cluster::shared().address();
        // The configuration names the interpreter only by its path.
        let path = std::env::var("PATH").unwrap_or_default();
        let python = python();
        let directory = std::path::Path::new(&python).parent().unwrap().display();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .env("PATH", format!("{directory}:{path}"))
            .env(crate::support::HELPER, "named")
            .env("TREFOIL_TEST_ADDRESS", address)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[1, 4, 9]\n", "{output:?}");
    }
}

/// Starts a copy of this program as this helper, whose items must run from copies of their own.
fn runs_from_copies(helper: &str) {
    let cluster = Cluster::shared();
    let copy = directory("program").join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = std::process::Command::new(&copy)
        .env(crate::support::HELPER, helper)
        .env("TREFOIL_TEST_FILE", cluster.file())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths: Vec<&str> = text.lines().collect();
    // Each worker has made a file of it, and has removed the file's name.
    let made = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("trefoil-") && name.ends_with(" (deleted)")
    };
    assert!(paths.len() == 60 && paths.iter().all(made), "{output:?}");
}

/// The gateway of this process's only pool.
fn gateway() -> u32 {
    let own = std::process::id();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
    let children: String = children.map(Result::unwrap).collect();
    let command =
        |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut children = children.split_whitespace();
    let gateway = children.find(|pid| command(pid).contains(&format!("exe=/proc/{own}/exe")));
    gateway.expect("there is no gateway").parse().unwrap()
}

/// A process whose program is nowhere under its name.
pub(crate) fn nowhere() {
    std::fs::remove_file(std::env::current_exe().unwrap()).unwrap();
    somewhere();
}

/// A process that prints which files its items run from.
pub(crate) fn somewhere() {
    let file = std::env::var("TREFOIL_TEST_FILE").unwrap();
    let procs = ProcessPool::builder().on(Dask::scheduler_file(file).python(python()));
    let procs = procs.build().unwrap();
    let here = procs.call(|_: u32| std::env::current_exe().unwrap().display().to_string());
    for path in here.chunk(1).map(0..60).unwrap() {
        println!("{path}");
    }
}

/// A process that picks its executor by name.
pub(crate) fn named() {
    let address = std::env::var("TREFOIL_TEST_ADDRESS").unwrap();
    let executor: AnyExecutor = format!("dask:{address}").parse().unwrap();
    println!("{:?}", executor.map(1..=3u64, |n: u64| n * n).unwrap());
}
