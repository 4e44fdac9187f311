//! What a pool promises, on Dask.

use std::sync::OnceLock;
use std::time::Duration;

use trefoil::process::{Bulk, Shared, SharedAtomics};
use trefoil::{AnyExecutor, Executor, ProcessPool, TaskError};

use crate::cluster::{Cluster, Listener, call, call_and_wait, python};
use crate::support::{Scratch, Test, note, noted, tests};

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
        assert!(matches!(late.join(), Err(TaskError::TimedOut)));
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
        assert!(error.to_string().contains("other machines"), "{error}");
        let (sender, _receiver) = trefoil::process::channel::<u64>(1).unwrap();
        let error = procs.spawn(sender, |_: trefoil::process::channel::Sender<u64>| ()).join().unwrap_err();
        assert!(error.to_string().contains("other machines"), "{error}");
        assert_eq!(procs.spawn(1, |n: u8| n).join().unwrap(), 1, "the pool goes on");
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

    fn an_executor_can_be_named() {
        let address = Cluster::shared().address();
        // What is configured names the interpreter by its path alone.
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

/// A process that picks its executor by name.
pub(crate) fn named() {
    let address = std::env::var("TREFOIL_TEST_ADDRESS").unwrap();
    let executor: AnyExecutor = format!("dask:{address}").parse().unwrap();
    println!("{:?}", executor.map(1..=3u64, |n: u64| n * n).unwrap());
}
