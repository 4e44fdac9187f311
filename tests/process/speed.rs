//! Calls that follow one another closely: their callers do a part of the driver's work, and read
//! results before they are sent. That may change nothing except the time that calls take.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::{Scratch, Test, note, pool, tests, until};
use trefoil::{Bulk, ProcessPool, Shutdown, Task, TaskError};

fn double(n: u64) -> u64 {
    n * 2
}

/// Does most things that a call can do, by its number.
fn eventful(n: u64) -> Vec<u64> {
    match n % 97 {
        13 => panic!("thirteen"),
        14 => std::process::abort(),
        15 => thread::sleep(Duration::from_millis(3)),
        _ => {}
    }
    vec![n; (n % 50) as usize]
}

fn check(n: u64, result: Result<Vec<u64>, TaskError>) {
    match (n % 97, result) {
        (13, Err(TaskError::Panicked(panic))) => assert_eq!(panic.message(), "thirteen"),
        (14, Err(TaskError::WorkerDied(exit))) => assert_eq!(exit.attempts(), 1),
        (_, Ok(result)) => assert_eq!(result, vec![n; (n % 50) as usize]),
        (_, other) => panic!("{n}: {other:?}"),
    }
}

/// How often the threads of this process and of the pool's workers have been scheduled.
#[cfg(unix)]
fn turns(procs: &ProcessPool) -> u64 {
    let mut processes: Vec<String> = procs.worker_pids().iter().map(u32::to_string).collect();
    processes.push("self".to_owned());
    let main = std::process::id().to_string();
    let mut sum = 0;
    for process in processes {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))
            .unwrap()
            .flatten()
        {
            if task.file_name().to_str() != Some(&*main) {
                let books = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
                sum += books
                    .split_whitespace()
                    .nth(2)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap();
            }
        }
    }
    sum
}

tests! {
    fn one_after_the_other() {
        for workers in [1, 2] {
            let procs = pool(workers);
            let rounds = sample(3_000) as u64;
            for n in 0..rounds {
                assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
            }
            // The ledger gets full several times.
            for n in 0..200u64 {
                let text = procs.spawn(n, |n: u64| "x".repeat(n as usize * 10)).join();
                assert_eq!(text.unwrap().len() as u64, n * 10);
            }
            let stats = procs.stats();
            assert_eq!((stats.completed, stats.failed), (rounds + 200, 0));
            procs.shutdown(Shutdown::Wait);
        }
    }

    fn with_whatever_happens() {
        let procs = pool(2);
        for n in 0..500 {
            check(n, procs.spawn(n, eventful).join());
        }
    }

    fn from_many_threads_at_once() {
        let procs = pool(2);
        thread::scope(|scope| {
            for first in 0..4u64 {
                let procs = &procs;
                scope.spawn(move || {
                    for n in (first * 1_000..).take(250) {
                        match n % 3 {
                            // No caller polls for these.
                            0 => {
                                let task = procs.spawn(n, eventful);
                                until(|| task.is_finished());
                                check(n, task.join());
                            }
                            1 => {
                                let many = procs.map(n..n + 7, double).unwrap();
                                assert!((n..).zip(many).all(|(n, twice)| twice == n * 2));
                            }
                            _ => check(n, procs.spawn(n, eventful).join()),
                        }
                    }
                });
            }
        });
    }

    fn calls_that_are_not_joined_are_answered_too() {
        let procs = pool(1);
        for n in 0..300 {
            // The worker looks for more work, and a caller has just polled for results.
            assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
            let done = Arc::new(AtomicBool::new(false));
            let theirs = done.clone();
            procs.spawn(n, double).on_done(move |_| theirs.store(true, Ordering::SeqCst));
            until(|| done.load(Ordering::SeqCst));
        }
    }

    fn a_long_call_does_not_keep_back_the_answer_before_it() {
        let procs = pool(1);
        let scratch = Scratch::new("long");
        for n in 0..20 {
            let mut quick = procs.spawn(n, double);
            // It ends when the other call's answer has arrived.
            let long = procs.spawn((n, scratch.text()), |(n, path): (u64, String)| {
                until(|| std::fs::read(&path).unwrap().len() as u64 > 8 * n);
            });
            assert_eq!(quick.join_timeout(Duration::from_secs(30)).unwrap(), n * 2);
            note(&scratch.text(), n);
            long.join().unwrap();
        }
    }

    fn no_callback_of_others_runs_on_a_caller() {
        let procs = pool(2);
        let main = thread::current().id();
        let (told, here) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let asked = Arc::new(AtomicBool::new(false));
        for n in 0..300 {
            let other = procs.spawn(n, |n: u64| {
                thread::sleep(Duration::from_micros(200));
                n
            });
            let (told, here) = (told.clone(), here.clone());
            let asking = asked.clone();
            asked.store(false, Ordering::SeqCst);
            other.on_done(move |_| {
                // A callback that is registered after the end is called at once.
                let on_caller = thread::current().id() == main && asking.load(Ordering::SeqCst);
                here.fetch_add(usize::from(on_caller), Ordering::SeqCst);
                told.fetch_add(1, Ordering::SeqCst);
            });
            asked.store(true, Ordering::SeqCst);
            for n in 0..5 {
                assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
            }
        }
        until(|| told.load(Ordering::SeqCst) == 300);
        assert_eq!(here.load(Ordering::SeqCst), 0);
    }

    fn large_and_small_by_turns() {
        let procs = pool(1);
        for size in [0, 100, 100_000, 130_000, 1 << 20, 5 << 20] {
            let bulk = Bulk::from(vec![7u8; size]);
            let back = procs.spawn(bulk.clone(), |bulk: Bulk<u8>| bulk).join().unwrap();
            assert!(back == bulk, "{size}");
            assert_eq!(procs.spawn(1, double).join().unwrap(), 2);
            assert_eq!(procs.spawn(2, double).join().unwrap(), 4);
        }
    }

    #[cfg(unix)]
    fn then_all_threads_sleep() {
        let procs = pool(2);
        for n in 0..200 {
            assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
        }
        // Longer than any side polls.
        until(|| {
            let before = turns(&procs);
            thread::sleep(Duration::from_millis(50));
            turns(&procs) == before
        });
        assert_eq!(procs.spawn(1, double).join().unwrap(), 2);
    }

    fn the_end_of_a_lively_pool() {
        for n in 0..20 {
            let procs = pool(2);
            let tasks: Vec<Task<u64>> = (0..n).map(|n| procs.spawn(n, double)).collect();
            assert_eq!(procs.spawn(n, double).join().unwrap(), n * 2);
            match n % 3 {
                0 => procs.kill(),
                1 => procs.shutdown(Shutdown::Wait),
                _ => drop(procs),
            }
            for (n, task) in (0..).zip(tasks) {
                match task.join() {
                    Ok(twice) => assert_eq!(twice, n * 2),
                    Err(TaskError::Cancelled) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
}
