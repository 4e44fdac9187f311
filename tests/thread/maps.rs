//! `map_task`, which does not wait, and `map_each`, which keeps every item's own result.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use deadline::within_deadline;
use trefoil::{CancelToken, Shutdown, TaskError, ThreadPool};

#[test]
fn a_map_that_a_loop_awaits_and_others_join() {
    within_deadline(|| {
        for threads in [1, 2, 4] {
            let pool = ThreadPool::with_threads(threads);
            let expected: Vec<u64> = (0..10_000).map(|n| n * n).collect();
            assert_eq!(
                pool.map_task(0..10_000_u64, |n| n * n).join().unwrap(),
                expected
            );
            let inner = pool.clone();
            let awaited =
                trefoil::run(async move { inner.map_task(0..10_000_u64, |n| n * n).await });
            assert_eq!(awaited.unwrap(), expected);
            // On a worker, which runs the task that it waits for itself.
            let inner = pool.clone();
            let nested = pool.map(0..10_usize, |times| {
                let task = inner.map_task(vec![1; 100], move |n| n * times);
                task.join().unwrap().iter().sum::<usize>()
            });
            assert_eq!(nested[9], 900);
            assert!(
                pool.map_task(Vec::<u8>::new(), |n| n)
                    .join()
                    .unwrap()
                    .is_empty()
            );
        }
    });
}

#[test]
fn the_items_of_a_map_task_occupy_all_workers() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(4);
        let all = Arc::new(Barrier::new(4));
        let task = pool.map_task(0..4, move |_| _ = all.wait());
        task.join().unwrap();
    });
}

#[test]
fn a_cancelled_map_task_begins_no_item_more_and_drops_them() {
    within_deadline(|| {
        for threads in [1, 3] {
            let pool = ThreadPool::with_threads(threads);
            let (begun, ran) = (Arc::new(AtomicUsize::new(0)), mpsc::channel());
            let token = Arc::new(());
            let items = vec![Arc::clone(&token); 10_000];
            let count = Arc::clone(&begun);
            let task = pool.map_task(items, move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                ran.0.send(()).unwrap();
                // A running item sees the cancellation.
                while !CancelToken::current().is_cancelled() {
                    std::thread::yield_now();
                }
            });
            ran.1.recv().unwrap();
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            assert!(begun.load(Ordering::SeqCst) <= threads);
            assert_eq!(Arc::strong_count(&token), 1, "all have been dropped");
        }
    });
}

#[test]
fn a_map_task_that_has_not_begun_is_cancelled_without_a_call() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (busy, ran) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
        let theirs = Arc::clone(&busy);
        pool.spawn(move || theirs.wait()).detach();
        let called = Arc::clone(&ran);
        let task = pool.map_task([1, 2, 3], move |_| called.store(true, Ordering::SeqCst));
        assert!(task.cancel());
        busy.wait();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        pool.shutdown(Shutdown::Wait);
        assert!(!ran.load(Ordering::SeqCst));
        let closed = pool.map_task([1], |n| n).join();
        assert!(matches!(closed, Err(TaskError::Closed)));
    });
}

#[test]
fn a_pool_that_ends_runs_a_map_task_or_cancels_it() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = ThreadPool::with_threads(1);
            let (tell, told) = mpsc::channel();
            let free = Arc::new(AtomicBool::new(false));
            let (inner, end) = (pool.clone(), Arc::clone(&free));
            let queue = pool.spawn(move || {
                let task = inner.map_task([1, 2, 3], |n| n * 2);
                tell.send(()).unwrap();
                // It computes: another thread would take the place of one that is stuck.
                while !end.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                task
            });
            told.recv().unwrap();
            let closer = pool.clone();
            let closing = std::thread::spawn(move || closer.shutdown(how));
            while !matches!(
                pool.spawn(|| ()).join_timeout(Duration::ZERO),
                Err(TaskError::Closed)
            ) {
                std::thread::yield_now();
            }
            free.store(true, Ordering::SeqCst);
            closing.join().unwrap();
            let ended = queue.join().unwrap().join();
            match how {
                Shutdown::Wait => assert_eq!(ended.unwrap(), [2, 4, 6]),
                _ => assert!(matches!(ended, Err(TaskError::Cancelled)), "{ended:?}"),
            }
        }
    });
}

#[test]
fn the_lowest_panic_of_a_map_task_is_its_error() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(4);
        for _ in 0..20 {
            let task = pool.map_task(0..1000, |n| {
                assert!(n % 100 != 77, "item {n}");
                n
            });
            let Err(TaskError::Panicked(panic)) = task.join() else {
                panic!("it panics");
            };
            assert_eq!(panic.message(), "item 77");
            assert!(panic.location().unwrap().file().ends_with("maps.rs"));
        }
    });
}

#[test]
fn an_item_that_cancels_its_own_token_ends_the_task_in_words() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let task = pool.map_task(0..10, |_| CancelToken::current().cancel());
        let Err(TaskError::Panicked(panic)) = task.join() else {
            panic!("nobody has cancelled the task");
        };
        assert!(panic.message().contains("token"));
    });
}

/// While a worker waits for a `map_task`, it runs nothing else; it holds a lock that all other
/// tasks want.
#[test]
fn a_wait_for_a_map_task_runs_no_unrelated_task() {
    within_deadline(|| {
        for threads in [1, 2] {
            let pool = ThreadPool::with_threads(threads);
            let lock = Arc::new(Mutex::new(0));
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let (pool, lock) = (pool.clone(), Arc::clone(&lock));
                    pool.clone().spawn(move || {
                        let mut sum = lock.lock().unwrap();
                        *sum += pool.map_task(0..100, |n| n).join().unwrap().len();
                    })
                })
                .collect();
            for task in tasks {
                task.join().unwrap();
            }
            assert_eq!(*lock.lock().unwrap(), 2000);
        }
    });
}

#[test]
fn map_each_keeps_every_items_own_result() {
    within_deadline(|| {
        for threads in [1, 4] {
            let pool = ThreadPool::with_threads(threads);
            let results = pool.map_each(0..1000, |n| {
                assert!(n % 10 != 3, "item {n}");
                n * 2
            });
            assert_eq!(results.len(), 1000);
            for (n, result) in results.into_iter().enumerate() {
                match result {
                    Ok(double) => assert_eq!(double, n * 2),
                    Err(TaskError::Panicked(panic)) => {
                        assert_eq!(panic.message(), format!("item {n}"));
                        assert!(panic.location().unwrap().file().ends_with("maps.rs"));
                        assert_eq!(n % 10, 3);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}
