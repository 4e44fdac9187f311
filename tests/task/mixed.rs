//! Threads and a loop in one program: the seams between the executors.
//! (With processes as well: `tests/process/pool.rs` and the tour.)
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

use crate::deadline;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use deadline::within_deadline;
use trefoil::{
    Completer, EventLoop, Task, TaskError, TaskGroup, ThreadPool, join_all, race, sync::channel,
    timeout,
};

#[test]
fn what_a_task_captured_is_free_when_its_end_is_seen() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        for _ in 0..5_000 {
            let captured = Arc::new(());
            let inside = captured.clone();
            pool.spawn(move || drop(inside)).join().unwrap();
            assert_eq!(Arc::strong_count(&captured), 1);
        }
        trefoil::run(async {
            for round in 0..5_000 {
                let captured = Arc::new(());
                let inside = captured.clone();
                let task = trefoil::spawn(async move {
                    if round % 2 == 0 {
                        trefoil::yield_now().await;
                    }
                    let _inside = inside;
                });
                task.await.unwrap();
                assert_eq!(Arc::strong_count(&captured), 1);
            }
        });
    });
}

#[test]
fn tasks_of_all_kinds_in_one_list() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        trefoil::run(async {
            for _ in 0..200 {
                let (completer, promised) = Completer::new();
                let tasks = [
                    pool.spawn(|| 1),
                    trefoil::spawn(async { 2 }),
                    promised,
                    Task::ready(4),
                    pool.spawn(|| 10).map(|n| n / 2),
                ];
                pool.spawn(move || completer.complete(Ok(3))).detach();
                let results: Result<Vec<i32>, TaskError> =
                    join_all(tasks).await.into_iter().collect();
                assert_eq!(results.unwrap(), [1, 2, 3, 4, 5]);
            }
        });
    });
}

#[test]
fn a_race_between_a_thread_and_the_loop() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let stop = Arc::new(AtomicBool::new(false));
        let winner = trefoil::run(async {
            let until = stop.clone();
            let endless = pool.spawn(move || {
                while !until.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                "thread"
            });
            race([endless, trefoil::spawn(async { "loop" })]).await
        });
        assert_eq!(winner.unwrap(), "loop");
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_loop_task_is_joined_on_threads_and_a_pool_task_awaited_on_the_loop() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        // A worker joins a task of the loop, which awaits a task of the pool.
        let joined = pool.spawn(move || {
            let task = handle.spawn(async {
                trefoil::time::sleep(Duration::from_millis(2)).await;
                20
            });
            task.join().unwrap() + 1
        });
        assert_eq!(event_loop.block_on(joined).unwrap(), 21);
    });
}

#[test]
fn a_blocking_join_is_refused_on_the_loop_and_nothing_else_is() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        trefoil::run(async {
            let (completer, task) = Completer::<u8>::new();
            assert!(matches!(task.join(), Err(TaskError::WouldBlock)));
            assert!(!completer.is_cancelled(), "it is detached");
            let (completer, mut task) = Completer::<u8>::new();
            assert!(matches!(
                task.join_timeout(Duration::from_secs(9)),
                Err(TaskError::WouldBlock)
            ));
            completer.complete(Ok(1));
            assert_eq!(
                task.join().unwrap(),
                1,
                "a finished task's join succeeds anywhere"
            );
            let (_, closed) = Completer::new();
            let results = join_all([Task::ready(1), closed]).join();
            assert!(matches!(results[..], [Ok(1), Err(TaskError::Closed)]));
            let (_keep, pending) = Completer::new();
            let results = join_all([Task::ready(1), pending]).join();
            assert!(matches!(results[..], [Ok(1), Err(TaskError::WouldBlock)]));
            // On a thread of the pool it is allowed, and a loop there refuses again.
            let inner = pool.spawn(|| {
                let (_keep, pending) = Completer::<u8>::new();
                trefoil::run(async { pending.join() })
            });
            assert!(matches!(inner.await.unwrap(), Err(TaskError::WouldBlock)));
        });
    });
}

#[test]
fn a_group_over_threads_and_loop_fails_as_one() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        trefoil::run(async {
            let mut group = TaskGroup::new();
            let (never, pending) = Completer::<u32>::new();
            group.add(pending);
            group.add(trefoil::spawn(std::future::pending()));
            group.add(pool.spawn(|| panic!("injected (this message is expected)")));
            let error = timeout(Duration::from_secs(30), group.try_join_all())
                .await
                .unwrap()
                .unwrap_err();
            assert!(
                matches!(error.errors(), [(_, TaskError::Panicked(_))]),
                "{error}"
            );
            assert!(never.is_cancelled());
        });
    });
}

#[test]
fn the_thread_of_a_loop_does_not_wait_for_its_own_tasks_between_two_runs() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let (task, done) = event_loop.block_on(async {
            let task = trefoil::spawn(async {
                trefoil::time::sleep(Duration::from_millis(1)).await;
                7
            });
            let done = trefoil::spawn(async { 8 });
            trefoil::yield_now().await;
            (task, done)
        });
        assert_eq!(
            done.join().unwrap(),
            8,
            "what has ended can be taken anywhere"
        );
        let refused = task.join();
        assert!(matches!(refused, Err(TaskError::WouldBlock)), "{refused:?}");
    });
}

/// The recipe of `docs/COOKBOOK.md`, with a stage that fails.
#[test]
fn connected_stages_fail_with_the_error_of_the_one_that_failed() {
    within_deadline(|| {
        for (failing, capacity) in [("reader", 1), ("reader", 16), ("parser", 1), ("parser", 16)] {
            let fail = move |stage, n| assert!(stage != failing || n != 7, "stage {stage}");
            let result = trefoil::run(async {
                let (lines, to_parse) = channel::bounded::<u64>(capacity);
                let (parsed, to_sum) = channel::bounded::<u64>(capacity);
                let reader = trefoil::spawn(async move {
                    for n in 0..100 {
                        fail("reader", n);
                        if lines.send(n).await.is_err() {
                            break;
                        }
                    }
                });
                let parser = trefoil::spawn_blocking(move || {
                    while let Ok(n) = to_parse.recv_blocking() {
                        fail("parser", n);
                        if parsed.send_blocking(n).is_err() {
                            break;
                        }
                    }
                });
                let mut sum = 0;
                while let Ok(n) = to_sum.recv().await {
                    sum += n;
                }
                trefoil::try_join_all([reader, parser]).await?;
                Ok::<u64, TaskError>(sum)
            });
            let error = result.unwrap_err().to_string();
            assert!(error.contains(&format!("stage {failing}")), "{error}");
        }
    });
}
