//! Cases that other process pools have got wrong, one test each: `tests/CONFORMANCE.md` says which
//! pools.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::collections::HashSet;
use std::process::{Stdio, abort, exit};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use support::{
    ABORTED, End, KILLED, Odd, Scratch, Test, VIOLATED, children, descriptors, end_of, forever,
    kill, note, noted, pool, tests, until,
};
use trefoil::task::WorkerExit;
use trefoil::{Bulk, ProcessPool, Shutdown, Task, TaskError};

fn died<T: std::fmt::Debug>(result: Result<T, TaskError>) -> WorkerExit {
    match result {
        Err(TaskError::WorkerDied(exit)) => *exit,
        other => panic!("the worker should have died: {other:?}"),
    }
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One of the ways in which a process ends; 0 is none.
fn end(how: u8) {
    match how {
        0 => {}
        1 => exit(5),
        2 => segfault(),
        3 => abort(),
        _ => kill(std::process::id()),
    }
}

/// The exit code and signal of each.
const ENDS: [End; 5] = [(None, None), (Some(5), None), VIOLATED, ABORTED, KILLED];

#[allow(unsafe_code)]
fn segfault() {
    let nowhere = std::hint::black_box(std::ptr::dangling_mut::<u64>());
    // SAFETY: there is none: this is the crash.
    unsafe { nowhere.write_volatile(1) };
}

/// A value that ends the process that reads it.
#[derive(Debug, PartialEq, Serialize)]
struct EndsReader(u8);

impl<'de> Deserialize<'de> for EndsReader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let how = u8::deserialize(deserializer)?;
        end(how);
        Ok(Self(how))
    }
}

/// A value that ends the process that writes it, half-way.
#[derive(Debug, Deserialize)]
struct EndsWriter(u8, Bulk<u8>);

impl Serialize for EndsWriter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.0)?;
        end(self.0);
        tuple.serialize_element(&self.1)?;
        tuple.end()
    }
}

static ALIVE: AtomicI64 = AtomicI64::new(0);

/// Counts the instances in this process.
#[derive(Debug)]
struct Counted(u32);

impl Counted {
    fn new(n: u32) -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(n)
    }

    fn alive() -> i64 {
        ALIVE.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::new)
    }
}

/// Returns when `n` items have reached this point.
fn meet((path, n): (String, u32)) -> u32 {
    note(&path, 0);
    until(|| noted(&path) >= n as usize);
    std::process::id()
}

/// Has all of a pool's workers run at the same time, and returns their process ids.
fn all_at_work(procs: &ProcessPool, n: u32) -> HashSet<u32> {
    let here = Scratch::new("all-at-work");
    let tasks: Vec<Task<u32>> = (0..n)
        .map(|_| procs.spawn((here.text(), n), meet))
        .collect();
    tasks.into_iter().map(|task| task.join().unwrap()).collect()
}

tests! {
    fn the_end_while_an_argument_is_read() {
        let procs = pool(2);
        for (how, seen) in (1u8..).zip(ENDS.into_iter().skip(1)) {
            let died = died(procs.spawn(EndsReader(how), |_: EndsReader| ()).join());
            assert_eq!(end_of(&died), seen);
            for chunk in [1, 10] {
                let call = procs.call(|reader: EndsReader| reader).chunk_size(chunk);
                let items = (0..40).map(|n| EndsReader(if n == 13 { how } else { 0 }));
                for (n, result) in call.imap(items).enumerate() {
                    match n {
                        13 => assert!(matches!(result, Err(TaskError::WorkerDied(_))), "{result:?}"),
                        _ => assert_eq!(result.unwrap(), EndsReader(0)),
                    }
                }
            }
        }
    }

    fn the_end_while_a_result_is_written() {
        let procs = pool(2);
        for (how, seen) in (1u8..).zip(ENDS.into_iter().skip(1)) {
            // Through the pages that the worker shares with its parent, and directly.
            for size in [10, 300_000] {
                let died = died(procs.spawn((how, size), |(how, size)| EndsWriter(how, vec![1; size].into())).join());
                assert_eq!((end_of(&died), died.attempts()), (seen, 1));
                let call = procs.call(|(how, size)| EndsWriter(how, vec![1; size].into())).chunk_size(10);
                let items = (0..20).map(|n| (if n == 13 { how } else { 0 }, size));
                for (n, result) in call.imap(items).enumerate() {
                    assert_eq!(result.is_err(), n == 13, "{n}: {result:?}");
                }
            }
        }
    }

    fn a_shutdown_while_workers_crash_and_values_cannot_be_written() {
        for round in 0..24u8 {
            let procs = pool(2);
            let odd: Vec<Task<Odd>> = (0..20).map(|n| procs.spawn(Odd(n % 2), |odd: Odd| odd)).collect();
            let ends: Vec<Task<u8>> = (0..20u8).map(|n| procs.spawn(n, |n| { end(n % 5); n })).collect();
            let back: Vec<Task<Odd>> = (0..20u8).map(|n| procs.spawn(n, |n| Odd(n % 3))).collect();
            let begin = Instant::now();
            match round % 4 {
                0 => procs.shutdown(Shutdown::Wait),
                1 => procs.shutdown(Shutdown::CancelPending),
                2 => procs.kill(),
                _ => drop(procs),
            }
            assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
            let waited = round % 4 == 0;
            for (n, task) in (0..).zip(odd) {
                match task.join() {
                    Err(TaskError::Codec(_)) => assert_eq!(n % 2, 1),
                    Err(TaskError::Cancelled | TaskError::Closed) => assert!(!waited),
                    other => assert_eq!((other.unwrap().0, n % 2), (0, 0)),
                }
            }
            for (n, task) in (0..).zip(ends) {
                match task.join() {
                    Err(TaskError::WorkerDied(_)) => assert_ne!(n % 5, 0),
                    Err(TaskError::Cancelled | TaskError::Closed) => assert!(!waited),
                    other => assert_eq!((other.unwrap(), n % 5), (n, 0)),
                }
            }
            for (n, task) in (0..).zip(back) {
                match task.join() {
                    Err(TaskError::Codec(_)) => assert_ne!(n % 3, 0),
                    Err(TaskError::Cancelled | TaskError::Closed) => assert!(!waited),
                    other => assert_eq!((other.unwrap().0, n % 3), (0, 0)),
                }
            }
        }
    }

    fn every_task_has_an_error_of_its_own() {
        let procs = pool(3);
        let tasks: Vec<Task<()>> = (0..30).map(|n| procs.spawn(n, |n: u32| { eprintln!("number {n}."); abort() })).collect();
        let mut pids = HashSet::new();
        for (n, task) in tasks.into_iter().enumerate() {
            let exit = died(task.join());
            assert!(exit.stderr_tail().contains(&format!("number {n}.")), "{exit}");
            assert!(pids.insert(exit.pid()), "another's");
        }
    }

    fn arguments_and_results_are_dropped_at_once() {
        let procs = pool(1);
        let scratch = Scratch::new("dropped");
        let task = procs.spawn((scratch.text(), Counted::new(1)), |(path, counted): (String, Counted)| {
            until(|| noted(&path) > 0); // the caller has counted
            counted
        });
        assert_eq!(Counted::alive(), 0, "the argument has gone when it is written down");
        note(&scratch.text(), 1);
        let result = task.join().unwrap();
        assert_eq!(Counted::alive(), 1);
        drop(result);
        // In the worker: an argument is dropped before the next item begins.
        let seen = procs.call(|counted: Counted| (Counted::new(counted.0), Counted::alive())).chunk_size(20);
        let seen = seen.map((0..60).map(Counted::new)).unwrap();
        assert!(seen.iter().all(|(_, alive)| *alive == 2));
        drop(seen);
        let all = procs.map((0..1000).map(Counted::new), |counted| counted).unwrap();
        assert_eq!(Counted::alive(), 1000);
        drop(all);
        // Results exist only as they are taken: never more than the buffer has room for.
        for (n, result) in (0..).zip(procs.call(|counted: Counted| counted).imap((0..500).map(Counted::new)).buffer(8)) {
            assert_eq!(result.unwrap().0, n);
            assert!(Counted::alive() <= 9, "{}", Counted::alive());
        }
        assert_eq!(Counted::alive(), 0);
    }

    fn never_more_processes_than_workers() {
        let procs = pool(3);
        let tasks: Vec<Task<u32>> = (0..45).map(|_| procs.spawn((), |()| { std::thread::sleep(millis(2)); std::process::id() })).collect();
        let mut most = 0;
        while !tasks.iter().all(Task::is_finished) {
            most = most.max(children());
        }
        assert_eq!(most, 3);
        let pids: HashSet<u32> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
        assert!(pids.len() <= 3 && procs.stats().started == 3);
    }

    fn idle_workers_are_used_again() {
        let procs = pool(2);
        let pids: HashSet<u32> = procs.worker_pids().into_iter().collect();
        for _ in 0..300 {
            assert!(pids.contains(&procs.spawn((), |()| std::process::id()).join().unwrap()));
        }
        assert_eq!(all_at_work(&procs, 2), pids);
        assert_eq!(procs.stats().started, 2);
    }

    fn workers_are_replaced_while_the_pool_ends() {
        for most in [1, 3] {
            let builder = ProcessPool::builder().workers(2).max_tasks_per_worker(most);
            let procs = builder.build().unwrap();
            let tasks: Vec<Task<u32>> = (0..40).map(|n| procs.spawn(n, |n| n)).collect();
            procs.shutdown(Shutdown::Wait);
            assert!((0..).zip(tasks).all(|(n, task)| task.join().unwrap() == n));
        }
    }

    fn work_that_comes_while_workers_are_replaced() {
        let builder = ProcessPool::builder().workers(2).max_tasks_per_worker(1);
        let procs = builder.build().unwrap();
        let step = 300 / sample(300);
        for n in (0..300u32).step_by(step) {
            // At varying times after the previous one's end.
            for _ in 0..n * 64 {
                std::hint::spin_loop();
            }
            assert_eq!(procs.spawn(n, |n| n).join().unwrap(), n);
        }
        procs.shutdown(Shutdown::Wait);
    }

    fn a_hundred_workers_are_killed_at_once() {
        let procs = pool(100);
        let pids = all_at_work(&procs, 100);
        assert_eq!(pids.len(), 100);
        let here = Scratch::new("hundred");
        let tasks: Vec<Task<()>> = (0..100).map(|_| {
            procs.spawn(here.text(), |path: String| {
                note(&path, 0);
                forever::<()>();
            })
        }).collect();
        until(|| here.notes().len() == 100);
        pids.iter().for_each(|pid| kill(*pid));
        for task in tasks {
            assert!(task.join().is_err_and(|error| matches!(error, TaskError::WorkerDied(_))));
        }
        assert_eq!(procs.map(0..1000, |n: u32| n).unwrap().len(), 1000);
        until(|| procs.worker_pids().len() == 100);
    }

    fn all_workers_crash_at_once() {
        for workers in [1, 2, 5, 8] {
            let procs = pool(workers as usize);
            for how in 1..=4 {
                let here = Scratch::new("crash");
                let tasks: Vec<Task<()>> = (0..workers).map(|_| {
                    procs.spawn((here.text(), workers, how), |(path, workers, how)| {
                        meet((path, workers));
                        end(how);
                    })
                }).collect();
                let others: Vec<Task<u32>> = (0..20).map(|n| procs.spawn(n, |n| n)).collect();
                for task in tasks {
                    let exit = died(task.join());
                    assert_eq!(end_of(&exit), ENDS[usize::from(how)]);
                }
                assert!((0..).zip(others).all(|(n, task)| task.join().unwrap() == n));
            }
        }
    }

    fn killed_from_outside_during_a_shutdown() {
        for round in 0..40u32 {
            let procs = pool(3);
            let tasks: Vec<Task<u32>> = (0..30).map(|n| procs.spawn(n, |n| n)).collect();
            let pids = procs.worker_pids();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..round * 400 {
                        std::hint::spin_loop();
                    }
                    pids.iter().for_each(|pid| kill(*pid));
                });
                match round % 3 {
                    0 => procs.shutdown(Shutdown::Wait),
                    1 => procs.shutdown(Shutdown::CancelPending),
                    _ => procs.shutdown_timeout(Shutdown::Wait, millis(1)),
                }
            });
            assert!(tasks.iter().all(Task::is_finished));
            let answers = tasks.into_iter().map(Task::join).filter(Result::is_ok).count();
            assert!(round % 3 != 0 || answers >= 27, "{answers}: at most one item for each kill");
            until(|| children() == 0);
        }
    }

    fn a_timeout_works_in_every_form() {
        let procs = pool(2);
        let call = procs.call(|n: u32| match n {
            3 => forever(),
            n => n,
        }).timeout(millis(200));
        let late = |result: Result<Vec<u32>, TaskError>| assert!(matches!(result, Err(TaskError::TimedOut(_))), "{result:?}");
        assert!(matches!(call.spawn(3).join(), Err(TaskError::TimedOut(_))));
        late(call.map(0..6));
        late(call.map_task(0..6).join());
        late(call.imap(0..6).collect());
        late(call.imap_unordered(0..6).collect());
        assert_eq!(call.imap(0..6).filter_map(Result::ok).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
        assert_eq!(call.imap_unordered(0..6).filter_map(Result::ok).count(), 5);
        trefoil::run(async { assert!(matches!(call.spawn(3).await, Err(TaskError::TimedOut(_)))) });
        assert_eq!(procs.stats().timed_out, 8);
    }

    fn the_last_may_be_joined_first() {
        let procs = pool(1);
        let mut tasks: Vec<Task<u32>> = (0..50).map(|n| procs.spawn(n, |n| n)).collect();
        while let Some(task) = tasks.pop() {
            assert_eq!(task.join().unwrap() as usize, tasks.len());
        }
    }

    fn a_large_argument_behind_a_busy_worker_does_not_block() {
        let procs = pool(1);
        let scratch = Scratch::new("behind");
        let busy = procs.spawn(scratch.text(), |path| until(|| !std::fs::read(&path).unwrap().is_empty()));
        let before = descriptors();
        let text = "x".repeat(4 << 20);
        let tasks: Vec<Task<usize>> = (0..20).map(|_| procs.spawn(text.clone(), |text| text.len())).collect();
        // The test gets here, so `spawn` has not waited. Nor do queued calls hold descriptors.
        assert!(descriptors() < before + 20);
        note(&scratch.text(), 1);
        busy.join().unwrap();
        assert!(tasks.into_iter().all(|task| task.join().unwrap() == 4 << 20));
    }

    fn a_child_of_an_item_that_keeps_its_descriptors_delays_nothing() {
        let procs = pool(1);
        let stray = procs.spawn((), |()| {
            let mut sleep = support::sleeper();
            sleep.stdin(Stdio::inherit()).stdout(Stdio::inherit());
            sleep.spawn().unwrap().id()
        });
        let stray = stray.join().unwrap();
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1, "it is a result like others");
        let begin = Instant::now();
        // The child has the worker's standard error, and survives it.
        assert_eq!(died(procs.spawn((), |()| -> () { exit(3) }).join()).code(), Some(3));
        assert_eq!(procs.spawn(1, |n: u32| n).join().unwrap(), 1);
        drop(procs);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        kill(stray);
    }

    fn nothing_in_is_nothing_out() {
        let procs = pool(2);
        let none = Vec::<u32>::new;
        let call = procs.call(|n: u32| n).timeout(millis(1000)).retry(1).chunk_size(3);
        assert!(procs.map(none(), |n: u32| n).unwrap().is_empty());
        assert!(procs.map_with(&1u32, none(), |k: &u32, n: u32| k + n).unwrap().is_empty());
        assert!(call.map(none()).unwrap().is_empty() && call.map_task(none()).join().unwrap().is_empty());
        assert_eq!(procs.imap(none(), |n: u32| n).count() + call.imap(none()).count(), 0);
        assert_eq!(procs.imap_unordered(none(), |n: u32| n).count() + call.imap_unordered(none()).count(), 0);
        procs.shutdown(Shutdown::Wait);
    }

    fn an_iterator_dropped_early_leaves_a_pool() {
        let procs = pool(2);
        for taken in [0, 1, 5] {
            let mut ordered = procs.imap(0u64.., |n| n);
            assert_eq!(ordered.by_ref().take(taken).count(), taken);
            let mut unordered = procs.imap_unordered(0u64.., |n| n);
            assert_eq!(unordered.by_ref().take(taken).count(), taken);
            drop((ordered, unordered));
            assert_eq!(procs.map(0..100, |n: u32| n).unwrap().len(), 100);
        }
        let ended = procs.imap(0u64.., |n| n);
        procs.shutdown(Shutdown::Wait);
        assert!(ended.take(1000).count() < 1000, "it ends with its pool");
    }

    #[cfg(unix)]
    fn tiny_items_travel_together_and_slow_ones_alone() {
        let procs = pool(2);
        // How often the workers have slept: at most once before each frame.
        let sleeps = || -> u64 {
            let text = |pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let count = |text: String| {
                let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                line.unwrap().trim().parse::<u64>().unwrap()
            };
            procs.worker_pids().into_iter().map(text).map(count).sum()
        };
        procs.map(0..1000u32, |n| n).unwrap(); // now the pool knows how long one takes
        let before = sleeps();
        procs.map(0..300_000u32, |n| n).unwrap();
        let slept = sleeps() - before;
        assert!(slept < 10_000, "{slept} times for 300,000 items");
        // Items of many milliseconds are spread: none waits behind another.
        let pids = procs.map(0..8u32, |_| { std::thread::sleep(millis(15)); std::process::id() }).unwrap();
        for pid in procs.worker_pids() {
            let own = pids.iter().filter(|each| **each == pid).count();
            assert!(own >= 2, "{pids:?}");
        }
    }

    fn a_pool_in_a_pool_in_a_pool() {
        fn deep(depth: u32) -> u32 {
            let procs = pool(2);
            match depth {
                0 => procs.map(0..4, |n: u32| n).unwrap().len() as u32,
                _ => procs.map([depth - 1; 2], deep).unwrap().iter().sum(),
            }
        }
        assert_eq!(deep(2), 16);
        until(|| children() == 0);
    }
}
