//! Workers that are initialized, limited and replaced; and their output.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashSet;
use std::hint::black_box;
use std::io::Write;
use std::process::{abort, exit};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Odd, Scratch, Test, census, forever, note, nothing_left_since, tests, until};
use trefoil::process::{ProcessPoolBuilder, WorkerStdout};
use trefoil::{PoolError, Process, ProcessPool, Shutdown, Task, TaskError, ThreadPool};

fn builder(workers: usize) -> ProcessPoolBuilder {
    ProcessPool::builder().workers(workers)
}

fn is_panic<T: std::fmt::Debug>(result: Result<T, TaskError>, words: &str) {
    match result {
        Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), words),
        other => panic!("{other:?}"),
    }
}

/// Set by the initializer.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// Writes to so much memory.
fn fill(bytes: usize) -> usize {
    black_box(vec![1u8; bytes]).len()
}

/// The same, and keeps it for ever.
fn leak(bytes: usize) -> u32 {
    std::mem::forget(black_box(vec![1u8; bytes]));
    std::process::id()
}

const MIB: usize = 1 << 20;

/// The variables that limit the threads of libraries, as this process has them.
fn threads() -> [Option<String>; 5] {
    let names = [
        "TREFOIL_THREADS",
        "RAYON_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
    ];
    names.map(|name| std::env::var(name).ok())
}

/// Those of a worker of this pool.
fn threads_in(builder: ProcessPoolBuilder) -> [Option<String>; 5] {
    builder
        .build()
        .unwrap()
        .spawn((), |()| threads())
        .join()
        .unwrap()
}

tests! {
    fn workers_share_the_processors() {
        let processors = std::thread::available_parallelism().unwrap().get();
        let before = threads();
        for plain in [false, true] {
            for workers in [1, 2, processors, processors + 1] {
                let share = (processors / workers).max(1).to_string();
                let procs = builder(workers).plain_workers(plain).build().unwrap();
                let expected = before.clone().map(|own| own.or(Some(share.clone())));
                assert_eq!(procs.spawn((), |()| threads()).join().unwrap(), expected);
                // A pool's default width in a worker, and a replaced worker.
                assert!(procs.spawn((), |()| -> () { abort() }).join().is_err());
                let width = procs.spawn((), |()| ThreadPool::new().num_threads());
                let expected = match &before[0] {
                    None => share.parse().unwrap(),
                    Some(_) => ThreadPool::new().num_threads(),
                };
                assert_eq!(width.join().unwrap(), expected);
            }
        }
        assert_eq!(threads(), before, "this process's environment is its own");
    }

    fn what_the_environment_says_of_threads_counts() {
        // Pools in a process whose environment has some of the variables.
        let pools = || Process::builder().env("OMP_NUM_THREADS", "70").env("RAYON_NUM_THREADS", "");
        let seen = pools().spawn((), |()| threads_in(builder(1).env("MKL_NUM_THREADS", "90"))).unwrap();
        let [_, rayon, omp, blas, mkl] = seen.join().unwrap();
        assert_eq!((rayon.as_deref(), omp.as_deref(), mkl.as_deref()), (Some(""), Some("70"), Some("90")));
        assert!(blas.is_some());
        // A number counts instead, but not instead of what the builder says of a variable.
        let seen = pools().spawn((), |()| {
            let builder = builder(2).env("MKL_NUM_THREADS", "90").threads_per_worker(Some(3));
            threads_in(builder.env("TREFOIL_THREADS", "5"))
        });
        let seen = seen.unwrap().join().unwrap().map(|value| value.unwrap());
        assert_eq!(seen, ["5", "3", "3", "3", "90"]);
        assert_eq!(threads_in(builder(1).threads_per_worker(Some(0))), [const { "1" }; 5].map(|one| Some(one.to_owned())));
    }

    fn workers_and_processes_can_have_the_environment_as_it_is() {
        assert_eq!(threads_in(builder(2).threads_per_worker(None)), threads());
        assert_eq!(threads_in(builder(2).threads_per_worker(Some(2)).threads_per_worker(None)), threads());
        assert_eq!(Process::spawn((), |()| threads()).unwrap().join().unwrap(), threads());
    }

    fn every_worker_is_initialized_before_its_first_item() {
        let scratch = Scratch::new("init");
        let procs = builder(2).initializer((5, scratch.text()), |(n, path): (u64, String)| {
            LEFT.store(n, Ordering::Relaxed);
            note(&path, std::process::id().into());
        }).build().unwrap();
        assert!(procs.map(0..1000, |_: u32| LEFT.load(Ordering::Relaxed)).unwrap().iter().all(|left| *left == 5));
        for _ in 0..5 {
            assert!(procs.spawn((), |()| -> () { abort() }).join().is_err());
            assert_eq!(procs.spawn((), |()| LEFT.load(Ordering::Relaxed)).join().unwrap(), 5);
        }
        until(|| procs.worker_pids().len() == 2);
        until(|| scratch.notes().len() == 7);
        assert_eq!(scratch.notes().iter().collect::<HashSet<_>>().len(), 7, "once each");
        assert_eq!(procs.stats().started, 7);
        drop(procs);
    }

    fn an_initializer_that_panics_fails_everything_once() {
        let procs = builder(3).initializer("no such model".to_owned(), |words: String| panic!("{words}")).build().unwrap();
        let tasks: Vec<Task<u32>> = (0..50).map(|n| procs.spawn(n, |n| n)).collect();
        tasks.into_iter().for_each(|task| is_panic(task.join(), "no such model"));
        is_panic(procs.map(0..100, |n: u32| n), "no such model");
        is_panic(procs.map_with(&1, 0..100, |k: &u32, n: u32| k + n), "no such model");
        let results: Vec<_> = procs.imap(0.., |n: u32| n).take(1000).collect();
        assert!(!results.is_empty() && results.len() < 1000);
        results.into_iter().for_each(|result| is_panic(result, "no such model"));
        until(|| procs.worker_pids().is_empty());
        for _ in 0..20 {
            is_panic(procs.call(|n: u32| n).retry(3).spawn(1).join(), "no such model");
        }
        assert!(procs.stats().started <= 3, "no storm");
        procs.shutdown(Shutdown::Wait);
        assert!(matches!(procs.spawn(1, |n: u32| n).join(), Err(TaskError::Closed)));
    }

    fn an_initializer_that_exits_gives_up_in_the_end() {
        let begin = Instant::now();
        let procs = builder(2).initializer((), |()| { eprintln!("no licence"); exit(3) }).build().unwrap();
        match procs.spawn(1, |n: u32| n).join() {
            Err(TaskError::WorkerDied(exit)) => {
                assert_eq!(exit.code(), Some(3));
                assert!(exit.stderr_tail().contains("no licence"));
            }
            other => panic!("{other:?}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(procs.stats().started <= 12, "{:?}", procs.stats());
        assert!(matches!(procs.imap(0..3, |n: u32| n).next(), Some(Err(TaskError::WorkerDied(_)))));
    }

    fn an_initializer_may_take_for_ever() {
        for end in 0..4 {
            let procs = builder(2).initializer((), |()| forever()).build().unwrap();
            let task = procs.spawn(1, |n: u32| n);
            let begin = Instant::now();
            match end {
                0 => drop(procs),
                1 => procs.kill(),
                2 => procs.shutdown_timeout(Shutdown::Wait, Duration::from_millis(50)),
                _ => procs.shutdown(Shutdown::CancelPending),
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{end}: {:?}", begin.elapsed());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        }
    }

    fn an_initializers_argument_may_be_broken() {
        match builder(1).initializer(Odd(1), |_| ()).build() {
            Err(PoolError::Initializer(error)) => assert!(error.to_string().contains("Odd"), "{error}"),
            other => panic!("{other:?}"),
        }
        let procs = builder(1).initializer(Odd(2), |_| ()).build().unwrap();
        let Err(TaskError::Codec(error)) = procs.spawn(1, |n: u32| n).join() else { panic!("it should") };
        assert!(error.type_name().ends_with("Odd"), "{error}");
        assert_eq!(builder(1).initializer(Odd(4), |_| ()).build().unwrap().spawn(1, |n: u32| n).join().unwrap(), 1);
    }

    fn too_much_memory_costs_one_item() {
        let procs = builder(2).memory_limit(100 << 20).build().unwrap();
        let huge = usize::try_from(10_u64 << 30).unwrap_or(1 << 30);
        let sizes = [MIB, 50 * MIB, 400 * MIB, MIB, huge, 90 * MIB, 2 * MIB];
        for chunk in [1, 7] {
            let results: Vec<_> = procs.call(fill).chunk_size(chunk).imap(sizes).collect();
            for (size, result) in sizes.into_iter().zip(results) {
                match result {
                    Ok(got) => assert!(got == size && size < 100 * MIB),
                    Err(TaskError::WorkerDied(exit)) => {
                        assert!(exit.out_of_memory() && size > 100 * MIB, "{exit}");
                        assert!(exit.to_string().contains("out of memory"), "{exit}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        // In small pieces, too.
        let task = procs.spawn((), |()| {
            let mut all = Vec::new();
            loop {
                all.push(vec![1u8; MIB]);
            }
        });
        let task: Task<()> = task;
        assert!(matches!(task.join(), Err(TaskError::WorkerDied(exit)) if exit.out_of_memory()));
        // Any other death is not reported as one for want of memory.
        let task = procs.spawn((), |()| -> () { abort() });
        assert!(matches!(task.join(), Err(TaskError::WorkerDied(exit)) if !exit.out_of_memory()));
        assert_eq!(procs.map(0..1000, |n: u32| n).unwrap().len(), 1000);
    }

    fn a_panic_at_the_limit_is_told_and_the_limit_stays() {
        let procs = builder(1).memory_limit(40 << 20).env("RUST_BACKTRACE", "full").build().unwrap();
        fn full(kept: &mut Vec<Vec<u8>>) {
            loop {
                let mut piece: Vec<u8> = Vec::new();
                if piece.try_reserve_exact(1 << 12).is_err() {
                    return;
                }
                piece.resize(1 << 12, 1);
                kept.push(piece);
            }
        }
        let limit = Duration::from_secs(30); // in case it waits for itself
        let task = procs.call(|()| -> () {
            let mut kept = Vec::with_capacity(1 << 20);
            full(&mut kept);
            panic!("no room")
        });
        is_panic(task.timeout(limit).spawn(()).join(), "no room");
        // An item that catches a panic and continues has the same limit as before.
        let task = procs.call(|()| std::panic::catch_unwind(|| panic!("mine")).is_err() && fill(400 * MIB) > 0);
        match task.timeout(limit).spawn(()).join() {
            Err(TaskError::WorkerDied(exit)) => assert!(exit.out_of_memory(), "{exit}"),
            other => panic!("{other:?}"),
        }
    }

    fn what_leaks_is_replaced_between_items() {
        let procs = builder(1).memory_limit(60 << 20).build().unwrap();
        for chunk in [1, 30] {
            let pids = procs.call(leak).chunk_size(chunk).map([25 * MIB; 30]).unwrap();
            let distinct: HashSet<u32> = pids.iter().copied().collect();
            assert!((8..=15).contains(&distinct.len()), "{} workers", distinct.len());
            let runs = pids.chunk_by(|a, b| a == b).map(<[u32]>::len);
            assert!(runs.into_iter().all(|run| run <= 4));
        }
        assert_eq!(procs.stats().died, 0, "they leave, they are not killed");
        // A limit below what any process has still lets one item run at a time.
        let procs = builder(1).memory_limit(5 << 20).build().unwrap();
        let pids = procs.map([3 * MIB; 6], leak).unwrap();
        assert!(pids.iter().collect::<HashSet<_>>().len() >= 2);
    }

    #[cfg(any(target_os = "macos", trefoil_port))]
    fn without_a_limit_of_memory_there_is_no_pool() {
        let Err(PoolError::Start(error)) = builder(1).memory_limit(1 << 40).build() else {
            panic!("nothing limits it")
        };
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("`memory_limit`"), "{error}");
    }

    fn an_argument_that_does_not_fit_fails_alone() {
        let procs = builder(2).memory_limit(50 << 20).build().unwrap();
        let texts = ["x".repeat(10), "x".repeat(300 << 20), "x".repeat(20)];
        let tasks = texts.map(|text| procs.spawn(text, |text| text.len()));
        let [small, large, other] = tasks.map(Task::join);
        assert_eq!((small.unwrap(), other.unwrap()), (10, 20));
        match large {
            Err(TaskError::WorkerDied(exit)) => assert!(exit.out_of_memory(), "{exit}"),
            other => panic!("{other:?}"),
        }
    }

    fn a_worker_has_so_many_items_and_no_more() {
        for (workers, most, chunk) in [(1, 1, 1), (1, 10, 4), (2, 7, 100), (3, 1, 9)] {
            let procs = builder(workers).max_tasks_per_worker(most).build().unwrap();
            let call = procs.call(|n: u64| (n, std::process::id())).chunk_size(chunk);
            let answers = call.map(0..60).unwrap();
            assert!(answers.iter().map(|(n, _)| *n).eq(0..60));
            let mut counts = std::collections::HashMap::new();
            answers.iter().for_each(|(_, pid)| *counts.entry(*pid).or_insert(0) += 1);
            assert!(counts.values().all(|count| *count <= most), "{counts:?}");
            // A backlog, errors and deaths included.
            let tasks: Vec<Task<u64>> = (0..60).map(|n| procs.spawn(n, |n| match n % 10 {
                3 => panic!("three"),
                5 => abort(),
                _ => n,
            })).collect();
            for (n, task) in (0..).zip(tasks) {
                match (n % 10, task.join()) {
                    (3, Err(TaskError::Panicked(_))) | (5, Err(TaskError::WorkerDied(_))) => {}
                    (_, result) => assert_eq!(result.unwrap(), n),
                }
            }
            assert_eq!(procs.imap(0..60u64, |n| n).filter_map(Result::ok).count(), 60);
            // More, if a worker that has run its number of items takes long to exit and is killed.
            assert!(procs.stats().died >= 6);
        }
    }

    fn output_comes_before_the_result() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let theirs = heard.clone();
        let procs = builder(2).on_output(move |pid, bytes| {
            theirs.lock().unwrap().extend(bytes.iter().map(|byte| (pid, *byte)));
        }).build().unwrap();
        let text = |pid: u32| {
            let heard = heard.lock().unwrap();
            let bytes = heard.iter().filter(|(from, _)| *from == pid).map(|(_, byte)| *byte).collect();
            String::from_utf8(bytes).unwrap()
        };
        for n in 0..200u64 {
            let pid = procs.spawn(n, |n| { println!("item {n}"); std::process::id() }).join().unwrap();
            assert!(text(pid).lines().any(|line| line == format!("item {n}")), "{n}");
        }
        // Much output, and the output of a dying worker.
        let much = procs.spawn((), |()| {
            for n in 0..20_000 {
                println!("line {n}");
            }
            std::process::id()
        });
        let pid = much.join().unwrap();
        assert!(text(pid).contains("line 0\n") && text(pid).ends_with("line 19999\n"));
        let task = procs.spawn((), |()| -> () { println!("farewell"); std::io::stdout().flush().unwrap(); abort() });
        let Err(TaskError::WorkerDied(exit)) = task.join() else { panic!("it should") };
        assert!(text(exit.pid()).ends_with("farewell\n"));
    }

    fn unread_output_delays_nothing() {
        let shout = |()| loop { println!("{}", "x".repeat(1000)) };
        for end in 0..3 {
            let procs = match end {
                0 => builder(2).worker_stdout(WorkerStdout::Capture).build().unwrap(),
                1 => {
                    // Three panics are enough, to keep the test's output short.
                    let panics = AtomicU32::new(0);
                    let hook = move |_: u32, _: &[u8]| {
                        assert!(panics.fetch_add(1, Ordering::Relaxed) >= 3, "the hook's own");
                    };
                    builder(2).on_output(hook).build().unwrap()
                }
                _ => builder(2).worker_stdout(WorkerStdout::Null).build().unwrap(),
            };
            let loud: Task<()> = procs.spawn((), shout);
            assert_eq!(procs.map(0..1000, |n: u32| { println!("{n}"); n }).unwrap().len(), 1000);
            let begin = Instant::now();
            match end {
                0 => drop(procs),
                1 => procs.shutdown_timeout(Shutdown::Wait, Duration::from_millis(50)),
                _ => procs.kill(),
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
            assert!(matches!(loud.join(), Err(TaskError::Cancelled)));
        }
    }

    fn all_of_it_leaves_nothing_behind() {
        let cycle = |round: u32| {
            let mut builder = builder(2)
                .initializer(1u32, |_| ())
                .max_tasks_per_worker(5)
                .on_output(|_, _| ());
            if !cfg!(any(target_os = "macos", trefoil_port)) {
                builder = builder.memory_limit(1 << 30);
            }
            let procs = builder.build().unwrap();
            procs.map_with(&1u32, 0..40, |k: &u32, n: u32| k + n).unwrap();
            let mut results = procs.imap(0u32.., |n| { println!("{n}"); n });
            results.by_ref().take(10).for_each(|result| assert!(result.is_ok()));
            let _ = procs.call(|()| forever::<()>()).timeout(Duration::from_millis(5)).spawn(()).join();
            match round % 3 {
                0 => drop(procs),
                1 => procs.kill(),
                _ => procs.shutdown_timeout(Shutdown::CancelPending, Duration::from_millis(100)),
            }
        };
        cycle(0);
        let before = census();
        (0..sample(30) as u32).for_each(cycle);
        nothing_left_since(before);
    }
}
