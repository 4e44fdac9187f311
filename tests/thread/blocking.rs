//! `spawn_blocking`: for calls that wait, other threads are added; for calls that compute, none.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use crate::calls;
use crate::deadline;

use std::hint::black_box;
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use calls::{call, comes_to_rest, pool};
use deadline::{eventually, threads_asleep, within_deadline};
use trefoil::{Shutdown, Task, TaskError, join_all, spawn_blocking};

/// Computes for so much processor time of its thread.
fn compute(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        black_box(0);
    }
}

/// Starts calls of which each waits for all the others.
fn all_at_once(name: &str, threads: usize, calls: usize) {
    let pool = pool(name, threads);
    let all = Arc::new(Barrier::new(calls));
    let meet = || {
        let all = Arc::clone(&all);
        spawn_blocking(move || all.wait().is_leader())
    };
    let calls: Vec<Task<bool>> = pool.install(|| (0..calls).map(|_| meet()).collect());
    for result in join_all(calls).join() {
        result.unwrap();
    }
    comes_to_rest(&pool);
}

#[test]
fn calls_that_wait_run_at_once() {
    within_deadline(|| all_at_once("at-once", 1, 100));
}

/// As many calls as possible: one for each extra thread, and one for the pool's own.
#[test]
fn five_hundred_of_them() {
    within_deadline(|| all_at_once("many", 2, 514));
}

/// Calls that compute get no extra threads: as many run as the pool is wide.
#[test]
fn calls_that_compute_get_no_company() {
    within_deadline(|| {
        let pool = pool("compute", 2);
        let now = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let calls: Vec<Task<()>> = (0..40)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                call(&pool, move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    compute(Duration::from_millis(25));
                    now.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        for result in join_all(calls).join() {
            result.unwrap();
        }
        // Two should run. On a busy machine one of them may be stopped in the kernel when the watch
        // looks, and a few more begin; all 40 at once would be an error.
        let most = most.load(SeqCst);
        assert!((2..10).contains(&most), "{most} at once");
        comes_to_rest(&pool);
    });
}

/// A call that waits delays neither calls that compute nor tasks.
#[test]
fn a_call_that_waits_gives_its_place_to_a_task() {
    within_deadline(|| {
        let pool = pool("to-a-task", 1);
        let (tell, told) = mpsc::channel();
        let waits = call(&pool, move || told.recv().unwrap());
        let computes = call(&pool, || 1);
        let task = pool.spawn(|| 2);
        assert_eq!(computes.join().unwrap() + task.join().unwrap(), 3);
        tell.send(4).unwrap();
        assert_eq!(waits.join().unwrap(), 4);
        comes_to_rest(&pool);
    });
}

/// Each call waits for a message, is replaced meanwhile, and then waits for a call that it has made
/// itself; some panic.
#[test]
fn calls_inside_calls_are_counted_once() {
    fn nest(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        std::thread::sleep(Duration::from_millis(u64::from(depth % 3) * 12)); // a call that waits
        let child = spawn_blocking(move || nest(depth - 1));
        let sum = 1 + child.join().unwrap_or(0);
        if depth.is_multiple_of(5) {
            panic_any("now and then");
        }
        sum
    }
    within_deadline(|| {
        let pool = pool("nested", 2);
        let calls: Vec<Task<u32>> = (1..30).map(|n| call(&pool, move || nest(n % 9))).collect();
        let tasks: Vec<Task<()>> = (0..100)
            .map(|n| pool.spawn(move || compute(Duration::from_micros(n * 10))))
            .collect();
        for (n, result) in (1..30).zip(join_all(calls).join()) {
            match n % 9 {
                5 => assert!(matches!(result, Err(TaskError::Panicked(_)))),
                depth if depth > 5 => assert_eq!(result.unwrap(), depth - 5),
                depth => assert_eq!(result.unwrap(), depth),
            }
        }
        for task in tasks {
            task.join().unwrap();
        }
        comes_to_rest(&pool);
    });
}

#[test]
fn shutdown_waits_for_calls_whose_places_are_lent() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = pool("leaving", 1);
            let (tell, told) = mpsc::channel();
            let (here, began) = mpsc::channel();
            let waits = call(&pool, move || {
                here.send(()).unwrap();
                told.recv().unwrap()
            });
            began.recv().unwrap();
            // It runs only if the waiting call was replaced.
            call(&pool, || ()).join().unwrap();
            std::thread::scope(|scope| {
                let ending = scope.spawn(|| pool.shutdown(how));
                eventually("the pool takes nothing more", || {
                    matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed))
                });
                assert!(!ending.is_finished());
                tell.send(7).unwrap();
                ending.join().unwrap();
            });
            assert_eq!(waits.join().unwrap(), 7);
        }
    });
}

/// If nothing is queued behind a call, no watch is started for it.
#[test]
fn a_single_call_wakes_no_thread() {
    fn switches(prefix: &str) -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let of = |status: String| -> Option<u64> {
            let mut lines = status.lines();
            let name = lines.next()?.strip_prefix("Name:\t")?;
            let line = status.lines().find(|line| line.starts_with("voluntary"))?;
            let count = line.rsplit('\t').next()?.parse().ok()?;
            name.starts_with(prefix).then_some(count)
        };
        let status = |task: std::io::Result<std::fs::DirEntry>| {
            of(std::fs::read_to_string(task.ok()?.path().join("status")).ok()?)
        };
        tasks.filter_map(status).sum()
    }
    within_deadline(|| {
        let pool = pool("alone", 2);
        let (tell, told) = mpsc::channel();
        let waits = call(&pool, move || told.recv().unwrap());
        let other = call(&pool, || ());
        other.join().unwrap();
        eventually("all of them sleep", || threads_asleep("alone"));
        // A watch may be making its last round.
        eventually("nobody wakes up", || {
            let before = switches("alone");
            std::thread::sleep(Duration::from_millis(100));
            before == switches("alone")
        });
        tell.send(()).unwrap();
        waits.join().unwrap();
    });
}
