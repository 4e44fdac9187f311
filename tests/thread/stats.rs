//! `ThreadPool::stats`.

use std::sync::mpsc::channel;
use std::thread::yield_now;

use trefoil::ThreadPool;

use crate::deadline::within_deadline;

#[test]
fn what_runs_and_what_is_queued_is_counted() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (started, has_started) = channel();
        let mut gates = Vec::new();
        for _ in 0..2 {
            let (open, gate) = channel::<()>();
            let started = started.clone();
            let task = pool.spawn(move || {
                started.send(()).unwrap();
                gate.recv().unwrap();
            });
            gates.push((open, task));
            has_started.recv().unwrap();
        }
        let behind: Vec<_> = (0..10).map(|n| pool.spawn(move || n)).collect();
        let stats = pool.stats();
        assert_eq!((stats.threads, stats.busy, stats.queued), (2, 2, 10));
        assert_eq!((stats.waiting, stats.taken), (0, 2));
        for (open, task) in gates {
            open.send(()).unwrap();
            task.join().unwrap();
        }
        drop(behind);
        while (pool.stats().busy, pool.stats().taken) != (0, 12) {
            yield_now();
        }
        assert_eq!(pool.stats().queued, 0);
    });
}

#[test]
fn a_worker_that_waits_is_not_busy() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (completer, promise) = trefoil::Completer::<u32>::new();
        let task = pool.spawn(move || promise.join().unwrap());
        while (pool.stats().busy, pool.stats().waiting) != (0, 1) {
            yield_now();
        }
        completer.complete(Ok(7));
        assert_eq!(task.join().unwrap(), 7);
    });
}

#[test]
fn a_pool_that_has_ended_is_empty() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        pool.spawn(|| ()).join().unwrap();
        pool.shutdown(trefoil::Shutdown::Wait);
        assert!(pool.spawn(|| ()).join().is_err()); // refused, and not queued
        let stats = pool.stats();
        assert_eq!((stats.busy, stats.waiting, stats.queued), (0, 0, 0));
    });
}
