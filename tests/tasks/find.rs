//! `trefoil::inspect::find_task`: tasks by their numbers, to cancel them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::Waker;
use std::thread::{spawn, yield_now};

use trefoil::inspect::find_task;
use trefoil::{CancelToken, Completer, EventLoop, Task, TaskError, ThreadPool};

use crate::deadline::within_deadline;

fn number<T>(task: &Task<T>) -> u64 {
    task.id().get()
}

fn is_cancelled<T>(result: Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Cancelled))
}

#[test]
fn each_kind_of_task_is_found_and_cancelled() {
    within_deadline(|| {
        assert!(find_task(0).is_none());
        let pool = ThreadPool::with_threads(1);
        let (begun, has_begun) = channel();
        let running = pool.spawn(move || {
            begun.send(()).unwrap();
            while !CancelToken::current().is_cancelled() {
                yield_now();
            }
        });
        has_begun.recv().unwrap();
        let queued = pool.spawn(|| ());
        let asleep = pool.spawn_async(std::future::pending::<()>());
        let (_completer, promise) = Completer::<()>::new();
        for task in [&queued, &asleep, &promise] {
            let found = find_task(number(task)).unwrap();
            assert_eq!(found.id(), task.id());
            assert!(found.cancel());
        }
        // What runs is asked to end, and ends as it likes.
        assert!(!find_task(number(&running)).unwrap().cancel());
        let id = number(&running);
        assert!(running.join().is_ok());
        assert!(find_task(id).is_none());
        for task in [queued, asleep, promise] {
            let id = number(&task);
            assert!(is_cancelled(task.join()));
            assert!(find_task(id).is_none());
        }
    });
}

#[test]
fn a_task_that_is_not_send_is_dropped_on_its_loop() {
    within_deadline(|| {
        assert!(find_task(0).is_none());
        let result = EventLoop::new().unwrap().block_on(async {
            let kept = std::rc::Rc::new(());
            let task = trefoil::spawn(async move {
                std::future::pending::<()>().await;
                drop(kept);
            });
            let id = number(&task);
            let canceller = spawn(move || find_task(id).unwrap().cancel());
            let result = task.await;
            assert!(canceller.join().unwrap());
            result
        });
        assert!(is_cancelled(result));
    });
}

/// Counts that it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future without any reference is dropped at once, although it can be found until then.
#[test]
fn the_list_keeps_nothing_alive() {
    within_deadline(|| {
        assert!(find_task(0).is_none());
        let pool = ThreadPool::with_threads(2);
        let dropped = Arc::new(AtomicUsize::new(0));
        for round in 0..1000 {
            let counted = Counted(dropped.clone());
            let (waker, wakers) = channel::<Waker>();
            let task = pool.spawn_async(async move {
                let _counted = counted;
                let mut given = false;
                std::future::poll_fn(|cx| {
                    if !std::mem::replace(&mut given, true) {
                        waker.send(cx.waker().clone()).unwrap();
                    }
                    std::task::Poll::<()>::Pending
                })
                .await;
            });
            let id = number(&task);
            task.detach();
            let last = wakers.recv().unwrap();
            // Both may be the last reference.
            let finder = spawn(move || find_task(id).is_some_and(|found| found.cancel()));
            drop(last);
            let _was_there = finder.join().unwrap();
            while dropped.load(Ordering::SeqCst) <= round {
                yield_now();
            }
            while find_task(id).is_some() {
                yield_now(); // it is about to end
            }
        }
    });
}

#[test]
fn tasks_are_found_while_others_come_and_go() {
    within_deadline(|| {
        assert!(find_task(0).is_none());
        let pool = ThreadPool::with_threads(2);
        let (_completers, promises): (Vec<_>, Vec<_>) =
            (0..20_000).map(|_| Completer::<()>::new()).unzip();
        pool.map(0..20_000, |n: usize| {
            let found = find_task(number(&promises[n])).unwrap();
            assert_eq!(found.id(), promises[n].id());
        });
        let ids: Vec<u64> = promises.iter().map(number).collect();
        assert!(promises.iter().all(Task::cancel));
        assert!(ids.iter().all(|id| find_task(*id).is_none()));
    });
}
