//! What a pool promises, on Dask.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use trefoil::process::{Bulk, Shared, SharedAtomics};
use trefoil::{Executor, PoolError, ProcessPool, TaskError, WorkerStdout};
use trefoil_machines::Dask;

use crate::cluster::{
    Caller, Cluster, Listener, call, call_and_wait, directory, python, python_with,
};
use crate::support::{self, Scratch, Test, note, noted, signal, tests, until};

static TABLE: OnceLock<u64> = OnceLock::new();

tests! {
    fn calls_maps_and_streams_give_what_they_do_here() {
        let procs = Cluster::shared().pool();
        assert_eq!(procs.num_workers(), 6, "one for each thread");
        assert_eq!(procs.spawn(6, |n: u64| n * 7).join().unwrap(), 42);
        let squares = procs.map(0..30_000u64, |n| n * n).unwrap();
        assert!(squares.iter().zip(0..).all(|(square, n): (_, u64)| *square == n * n));
        let sum: u64 = procs.imap(0..3000u64, |n: u64| n).map(Result::unwrap).sum();
        assert_eq!(sum, 3000 * 2999 / 2);
        let words = vec!["a".to_owned(), "b".to_owned()];
        let joined = procs.map_with(&words, 0..200usize, |words: &Vec<String>, n: usize| words[n % 2].clone());
        assert_eq!(joined.unwrap().concat(), "ab".repeat(100));
        let large = procs.spawn(Bulk::from(vec![3u8; 3 << 20]), |bytes: Bulk<u8>| bytes).join().unwrap();
        assert_eq!((large.len(), large[0]), (3 << 20, 3));
        let shared = Shared::from(vec![1u8; 100]);
        assert_eq!(procs.spawn(shared, |shared: Shared<u8>| shared.len()).join().unwrap(), 100);
        let atomics = SharedAtomics::<std::sync::atomic::AtomicU64>::new(1).unwrap();
        assert!(matches!(procs.spawn(atomics, |_| ()).join(), Err(TaskError::Codec(_))));
        let stats = procs.stats();
        assert_eq!((stats.failed, stats.died), (0, 0));
    }

    fn a_panic_and_a_death_cost_their_item_alone() {
        let procs = Cluster::shared().pool();
        let panicked = procs.spawn(3, |n: u32| -> () { panic!("no {n}") }).join().unwrap_err();
        assert!(panicked.to_string().contains("no 3"), "{panicked}");
        let ended = procs.spawn(5, |code: i32| -> () { eprintln!("last words"); std::process::exit(code) });
        let Err(TaskError::WorkerDied(exit)) = ended.join() else { panic!("it lives") };
        assert_eq!(exit.code(), Some(5));
        assert!(exit.stderr_tail().ends_with("last words\n"), "{exit:?}");
        let each = procs.call(|n: u32| if n == 7 { std::process::abort() } else { n });
        let results = each.chunk_size(20).map_each(0..20);
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
        assert_eq!(procs.stats().timed_out, 1);
    }

    fn an_item_that_looks_at_its_token_ends_by_itself() {
        let cluster = Cluster::shared();
        let procs = ProcessPool::builder().launcher(cluster.dask()).grace(Duration::from_secs(600)).build().unwrap();
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

    fn each_process_is_initialized_and_one_that_fails_is_an_error() {
        let cluster = Cluster::shared();
        let builder = || ProcessPool::builder().launcher(cluster.dask()).workers(4);
        let procs = builder().initializer(5, |n: u64| TABLE.set(n).unwrap()).build().unwrap();
        let all = procs.call(|n: u64| n + TABLE.get().unwrap()).chunk_size(1).map(0..50).unwrap();
        assert!(all.into_iter().eq(5..55));
        let broken = builder().initializer(5, |n: u64| panic!("no table {n}")).build().unwrap();
        let error = broken.spawn((), |()| ()).join().unwrap_err();
        assert!(error.to_string().contains("no table 5"), "{error}");
    }

    fn settings_reach_the_processes_there() {
        let cluster = Cluster::shared();
        let dask = cluster.dask().threads(1..=2);
        let procs = ProcessPool::builder().launcher(dask).env("SONG", "it's $HOME \"x\"\n%= ").worker_stdout(WorkerStdout::Null);
        let procs = procs.max_tasks_per_worker(1).build().unwrap();
        let there = |()| { println!("noise"); (std::env::var("SONG").unwrap(), std::process::id()) };
        let (first, second) = (procs.spawn((), there).join().unwrap(), procs.spawn((), there).join().unwrap());
        assert_eq!((first.0.as_str(), second.0.as_str()), ("it's $HOME \"x\"\n%= ", "it's $HOME \"x\"\n%= "));
        assert_ne!(first.1, second.1, "a process of its own for each");
        let threads = procs.spawn((), |()| std::env::var("RAYON_NUM_THREADS").ok()).join().unwrap();
        let own = std::env::var("RAYON_NUM_THREADS").unwrap_or("1".to_owned());
        assert_eq!(threads, Some(own), "its share of the processors");
        let log = cluster.log();
        assert!(!log.contains("noise") && !log.contains("it's"), "the variables are in no log: {log}");
        let procs = ProcessPool::builder().launcher(cluster.dask()).memory_limit(256 << 20).build().unwrap();
        let much = procs.spawn(1usize << 30, |bytes: usize| vec![1u8; bytes].len()).join();
        let Err(TaskError::WorkerDied(exit)) = much else { panic!("{much:?}") };
        assert!(exit.out_of_memory(), "{exit:?}");
        procs.spawn((), |()| eprintln!("heard")).join().unwrap();
        until(|| cluster.log().contains("heard"));
    }

    fn a_program_that_is_not_there_travels() {
        runs_from_copies("nowhere");
    }

    fn a_program_that_is_there_is_copied_before_it_runs() {
        // The file there could be another user's, who writes to it after it was compared.
        runs_from_copies("somewhere");
    }

    fn the_threads_are_given_back_and_taken_again() {
        let cluster = Cluster::shared();
        let builder = |dask: Dask| ProcessPool::builder().launcher(dask.idle(Duration::from_millis(100)));
        let procs = builder(cluster.dask().threads(0..=3)).build().unwrap();
        assert_eq!((cluster.tasks(), procs.num_workers()), (0, 3));
        for _ in 0..2 {
            let listener = Listener::new();
            let tasks: Vec<_> = (0..3).map(|_| procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path))).collect();
            let running: Vec<_> = (0..3).map(|_| listener.accept()).collect();
            assert_eq!(cluster.tasks(), 3);
            running.into_iter().for_each(Caller::go_on);
            tasks.into_iter().for_each(|task| task.join().unwrap());
            until(|| cluster.tasks() == 0);
        }
        let procs = builder(cluster.dask().threads(2..=3)).build().unwrap();
        let all = procs.call(|n: u64| std::thread::sleep(Duration::from_millis(n))).chunk_size(1);
        all.map(vec![20; 20]).unwrap();
        until(|| cluster.tasks() == 2);
        assert_eq!(procs.worker_pids().iter().filter(|pid| **pid != 0).count(), 2);
    }

    fn the_cluster_is_asked_for_what_a_worker_needs() {
        let cluster = Cluster::with(&["--resources", "GPU=1"]);
        // (Nobody else's tasks may be there.)
        let dask = cluster.dask().resource("GPU", 1).priority(7).retries(1);
        let procs = ProcessPool::builder().launcher(dask).build().unwrap();
        assert_eq!(procs.num_workers(), 1, "although there are two threads");
        let task = cluster.describe_tasks();
        assert!(task.starts_with("1 dask-") && task.contains("priority 7 retries 1 {'GPU': 1.0}"), "{task}");
        // What it holds is not there for a second pool: that waits, and then says why it got
        // nothing.
        let patience = Duration::from_millis(500);
        let second = cluster.dask().resource("GPU", 1).patience(patience);
        let Err(PoolError::Launcher(words)) = ProcessPool::builder().launcher(second).build() else { panic!("there is room") };
        assert!(words.contains("in 500ms") && words.contains("GPU"), "{words}");
        let never = ProcessPool::builder().launcher(cluster.dask().resource("TPU", 1).threads(0..=1).patience(patience)).build().unwrap();
        let words = never.spawn(2, |n: u64| n).join().unwrap_err().to_string();
        assert!(words.contains("TPU"), "{words}");
        assert_eq!(procs.spawn(2, |n: u64| n).join().unwrap(), 2);
        until(|| cluster.tasks() == 1);
    }

    fn a_secret_is_in_no_log_and_on_no_command_line() {
        let cluster = Cluster::start(1);
        let procs = ProcessPool::builder().launcher(cluster.dask()).env("SONG", "a secret of ours").build().unwrap();
        let listener = Listener::new();
        let task = procs.spawn(listener.path.clone(), |path: String| call_and_wait(&path));
        let running = listener.accept();
        let everything: Vec<u8> = std::fs::read_dir("/proc").unwrap().flat_map(|entry| {
            std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default()
        }).collect();
        let everything = String::from_utf8_lossy(&everything).into_owned();
        assert!(everything.contains("scheduler.json") && !everything.contains("a secret"), "{everything}");
        running.go_on();
        task.join().unwrap();
        // Errors of tasks are logged, with what the tasks are.
        let cluster = Cluster::with_python(&python_with(&[(crate::BROKEN.to_owned(), "1".to_owned())]));
        let refused = ProcessPool::builder().launcher(cluster.dask()).env("SONG", "a secret of ours").build();
        assert!(refused.is_err());
        until(|| cluster.log().contains("RuntimeError"));
        let log = cluster.log();
        assert!(!log.contains("a secret") && !has_key(&log), "{log}");
    }

    fn as_many_workers_as_a_large_cluster_has_threads() {
        let cluster = Cluster::with(&["--nthreads", "300"]);
        let dask = cluster.dask().threads(300..=300);
        let procs = ProcessPool::builder().launcher(dask).build().unwrap();
        until(|| procs.worker_pids().iter().filter(|pid| **pid != 0).count() == 300);
        let sum: u64 = procs.call(|n: u64| n).chunk_size(1).map(0..3000).unwrap().iter().sum();
        assert_eq!((sum, procs.stats().died), (3000 * 2999 / 2, 0));
    }

    fn a_placer_that_is_stopped_holds_nobody_up() {
        let cluster = Cluster::shared();
        let dask = cluster.dask().threads(1..=600);
        let procs = ProcessPool::builder().launcher(dask).build().unwrap();
        let placer = placer();
        signal(placer, Signal::STOP);
        // Another worker is wanted for each of these, and so many orders are more than the placer
        // reads.
        let listener = Listener::new();
        let call = procs.call(|path: Option<String>| path.iter().for_each(|path| call_and_wait(path))).chunk_size(1);
        let first = call.spawn(Some(listener.path.clone()));
        let running = listener.accept();
        let tasks: Vec<_> = (0..600).map(|_| call.spawn(None)).collect();
        running.go_on();
        first.join().unwrap();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        signal(placer, Signal::CONT);
        assert_eq!(procs.spawn(1, |n: u8| n).join().unwrap(), 1);
        drop(procs);
        until(|| cluster.tasks() == 0);
    }

    fn an_executor_can_be_named() {
        let address = Cluster::shared().address();
        // The configuration names the interpreter only by its path.
        let path = std::env::var("PATH").unwrap_or_default();
        let python = python();
        let directory = std::path::Path::new(&python).parent().unwrap().display();
        let output = Command::new(std::env::current_exe().unwrap())
            .env("PATH", format!("{directory}:{path}"))
            .env(support::HELPER, "named")
            .env("TREFOIL_TEST_ADDRESS", address)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "[1, 4, 9]\n", "{output:?}");
        assert_eq!(output.status.signal(), None);
    }
}

/// Whether a text has 64 hexadecimal digits in a row.
fn has_key(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.any(|word| word.len() >= 64)
}

/// Starts a copy of this program as this helper, whose items must run from copies of their own.
fn runs_from_copies(helper: &str) {
    let cluster = Cluster::shared();
    let copy = directory("program").join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy)
        .env(support::HELPER, helper)
        .env("TREFOIL_TEST_FILE", cluster.file())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths: Vec<&str> = text.lines().collect();
    // Dask's worker has made a file of it, and has removed the file's name.
    let made = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("trefoil-") && name.ends_with(" (deleted)")
    };
    assert!(paths.len() == 60 && paths.iter().all(made), "{output:?}");
}

/// The process that places the workers of this process's only pool.
pub(crate) fn placer() -> u32 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let children = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
    let children: String = children.map(Result::unwrap_or_default).collect();
    let command =
        |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut children = children.split_whitespace();
    let placer = children.find(|pid| command(pid).contains("Places the workers of a pool"));
    placer.expect("there is no placer").parse().unwrap()
}

/// A process whose program is nowhere under its name.
pub(crate) fn nowhere() {
    std::fs::remove_file(std::env::current_exe().unwrap()).unwrap();
    somewhere();
}

/// A process that prints which files its items run from.
pub(crate) fn somewhere() {
    let file = std::env::var("TREFOIL_TEST_FILE").unwrap();
    let dask = Dask::scheduler_file(file).python(python());
    let procs = ProcessPool::builder().launcher(dask).build().unwrap();
    let here = procs.call(|_: u32| std::env::current_exe().unwrap().display().to_string());
    for path in here.chunk_size(1).map(0..60).unwrap() {
        println!("{path}");
    }
}

/// A process that picks its executor by name.
pub(crate) fn named() {
    let address = std::env::var("TREFOIL_TEST_ADDRESS").unwrap();
    let executor = trefoil_machines::executor(&format!("dask:{address}")).unwrap();
    println!("{:?}", executor.map(1..=3u64, |n: u64| n * n).unwrap());
}
