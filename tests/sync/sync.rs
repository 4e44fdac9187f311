//! The shared primitives, with a thread at one end and a task at the other.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)] // a program, not the crate

use crate::deadline;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use deadline::{sample, within_deadline};
use trefoil::sync::{
    Barrier, Condvar, Event, Mutex, OnceCell, ReentrantMutex, RwLock, Semaphore, broadcast, channel,
};
use trefoil::{Completer, TaskError, ThreadPool};

#[test]
fn a_bounded_channel_between_threads_and_a_loop() {
    within_deadline(|| {
        let (requests, asked) = channel::bounded::<u64>(4);
        let (answers, answered) = channel::bounded::<u64>(4);
        let asking = thread::spawn(move || {
            for n in 0..1000 {
                requests.send_blocking(n).unwrap();
            }
        });
        let serving = thread::spawn(move || {
            trefoil::run(async move {
                while let Ok(n) = asked.recv().await {
                    answers.send(n * 2).await.unwrap();
                }
            });
        });
        let mut sum = 0;
        while let Ok(n) = answered.recv_blocking() {
            sum += n;
        }
        assert_eq!(sum, 999 * 1000);
        asking.join().unwrap();
        serving.join().unwrap();
    });
}

/// The work that it waits for may be in its pool's queue.
#[test]
fn a_worker_that_waits_is_replaced() {
    type Waits = fn(&(Event, Mutex<bool>, Condvar));
    let ways: [Waits; 3] = [
        |(event, ..)| event.wait_blocking(),
        |(event, ..)| assert!(event.wait_timeout_blocking(Duration::from_secs(3600))),
        |(_, is_set, changed)| drop(changed.wait_while_blocking(is_set.lock_blocking(), |is| !*is)),
    ];
    within_deadline(move || {
        for wait in ways {
            let pool = ThreadPool::with_threads(1);
            let shared = Arc::new((Event::new(), Mutex::new(false), Condvar::new()));
            let theirs = shared.clone();
            let (begins, begun) = mpsc::channel();
            let waiting = pool.spawn(move || {
                begins.send(()).unwrap();
                wait(&theirs);
            });
            begun.recv().unwrap();
            let setting = pool.spawn(move || {
                shared.0.set();
                *shared.1.lock_blocking() = true;
                shared.2.notify_all();
            });
            waiting.join().unwrap();
            setting.join().unwrap();
        }
    });
}

/// The work that the lock's owner waits for may be in the pool's queue.
#[test]
fn a_worker_that_waits_for_a_reentrant_lock_is_replaced() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let lock = Arc::new(ReentrantMutex::new(()));
        let held = lock.lock_blocking();
        let (begins, begun) = mpsc::channel();
        let theirs = lock.clone();
        let waiting = pool.spawn(move || {
            begins.send(()).unwrap();
            drop(theirs.lock_blocking());
        });
        begun.recv().unwrap();
        let (ends, ended) = mpsc::channel();
        pool.spawn(move || ends.send(()).unwrap()).detach();
        ended.recv().unwrap();
        drop(held);
        waiting.join().unwrap();
    });
}

#[test]
fn an_event_wakes_threads_and_tasks() {
    within_deadline(|| {
        let event = Arc::new(Event::new());
        assert!(!event.wait_timeout_blocking(Duration::from_millis(1)));
        let blocked = {
            let event = event.clone();
            thread::spawn(move || event.wait_blocking())
        };
        let awaited = {
            let event = event.clone();
            thread::spawn(move || trefoil::run(async move { event.wait().await }))
        };
        event.set();
        blocked.join().unwrap();
        awaited.join().unwrap();
        assert!(event.is_set() && event.wait_timeout_blocking(Duration::ZERO));
        event.clear();
        assert!(!event.is_set());
    });
}

#[test]
fn a_condition_is_met_under_its_lock() {
    within_deadline(|| {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (queue, changed) = &*shared;
                    let queue = queue.lock_blocking();
                    changed
                        .wait_while_blocking(queue, |queue| queue.is_empty())
                        .pop()
                        .unwrap()
                })
            })
            .collect();
        let awaiting = {
            let shared = shared.clone();
            thread::spawn(move || {
                trefoil::run(async move {
                    let (queue, changed) = &*shared;
                    let queue = queue.lock().await;
                    changed
                        .wait_while(queue, |queue| queue.is_empty())
                        .await
                        .pop()
                        .unwrap()
                })
            })
        };
        for n in 0..4 {
            shared.0.lock_blocking().push(n);
            shared.1.notify_all();
        }
        let mut seen: Vec<i32> = consumers.into_iter().map(|t| t.join().unwrap()).collect();
        seen.push(awaiting.join().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3]);
    });
}

#[test]
fn a_reentrant_lock_excludes_others_and_not_its_owner() {
    within_deadline(|| {
        let lock = Arc::new(ReentrantMutex::new(Cell::new(0)));
        let (outer, inner) = (lock.lock_blocking(), lock.lock_blocking());
        let (tell, tried) = mpsc::channel();
        let other = {
            let lock = lock.clone();
            thread::spawn(move || {
                assert!(lock.try_lock().is_none());
                tell.send(()).unwrap();
                let held = lock.lock_blocking();
                held.set(held.get() + 10);
            })
        };
        tried.recv().unwrap();
        inner.set(1);
        drop(inner);
        outer.set(outer.get() + 1);
        drop(outer);
        other.join().unwrap();
        assert_eq!(lock.lock_blocking().get(), 12);
    });
}

#[test]
fn waiting_ties_no_future_to_its_thread() {
    fn send<T: Send>(_: T) {}
    let (event, lock) = (Event::new(), ReentrantMutex::new(Cell::new(0)));
    send(event.wait());
    send(lock.lock());
}

#[test]
fn two_tasks_of_one_loop_exclude_each_other() {
    within_deadline(|| {
        trefoil::run(async {
            let lock = std::rc::Rc::new(ReentrantMutex::new(Cell::new(0)));
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let lock = lock.clone();
                    trefoil::spawn(async move {
                        let outer = lock.lock().await;
                        let inner = lock.lock().await;
                        let before = inner.get();
                        trefoil::yield_now().await;
                        outer.set(before + 1);
                    })
                })
                .collect();
            for result in trefoil::join_all(tasks).await {
                result.unwrap();
            }
            assert_eq!(lock.lock().await.get(), 4);
        });
    });
}

#[test]
fn a_reentrant_lock_is_taken_again_in_whatever_way() {
    within_deadline(|| {
        let lock = ReentrantMutex::new(Cell::new(0));
        let long = Duration::from_secs(50);
        // A thread, also one that waits for a future, or runs a loop.
        let waited = trefoil::timeout(long, lock.lock()).join().unwrap();
        let blocked = lock.lock_blocking();
        let tried = lock.try_lock().unwrap();
        let inside = trefoil::timeout(long, async {
            (
                lock.lock_blocking(),
                lock.lock().await,
                lock.try_lock().unwrap(),
            )
        });
        let inside = inside.join().unwrap();
        let root = trefoil::run(async { (lock.lock().await, lock.lock_blocking()) });
        drop((waited, blocked, tried, inside, root));
        // The root future, and a task of ours.
        let again = async || {
            let first = lock.lock().await;
            trefoil::yield_now().await;
            drop((
                lock.try_lock().unwrap(),
                lock.lock_blocking(),
                lock.lock().await,
            ));
            first.set(first.get() + 1);
        };
        trefoil::run(again());
        assert_eq!(lock.lock_blocking().get(), 1);
        let lock = Arc::new(lock);
        let there = lock.clone();
        let task = async move {
            let first = there.lock().await;
            trefoil::yield_now().await;
            drop((
                there.try_lock().unwrap(),
                there.lock_blocking(),
                there.lock().await,
            ));
            first.set(first.get() + 1);
        };
        trefoil::run(async { trefoil::spawn(task).await.unwrap() });
        assert_eq!(lock.lock_blocking().get(), 2);
    });
}

#[test]
fn a_wait_for_ones_own_thread_is_refused() {
    within_deadline(|| {
        let lock = std::rc::Rc::new(ReentrantMutex::new(()));
        let other = lock.clone();
        let error = trefoil::run(async move {
            let _held = lock.lock().await;
            let asks = trefoil::spawn(async move { drop(other.lock_blocking()) });
            asks.await.unwrap_err().to_string()
        });
        assert!(error.contains("would wait for itself"), "{error}");
    });
}

#[test]
fn a_request_may_get_a_permit_that_is_just_released() {
    within_deadline(|| {
        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire().unwrap();
        let mut waits = Box::pin(semaphore.acquire());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(held);
        let quicker = semaphore.try_acquire();
        assert!(quicker.is_some(), "so the documentation of `sync` says");
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        drop(quicker);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
    });
}

#[test]
fn a_channel_for_no_items_is_one_for_one() {
    let (sender, receiver) = channel::bounded(0);
    assert_eq!(sender.capacity(), Some(1)); // as in tests/process/channel.rs
    sender.try_send(1).unwrap();
    assert!(sender.try_send(2).is_err());
    assert_eq!(receiver.try_recv(), Ok(1));
}

/// So that whoever waits for the answer to a queued request hears of its end.
#[test]
fn the_last_receiver_drops_what_is_queued() {
    within_deadline(|| {
        let (sender, receiver) = channel::unbounded();
        let other = receiver.clone();
        let (reply, answer) = Completer::<()>::new();
        sender.try_send(reply).unwrap();
        drop(receiver);
        assert_eq!(sender.len(), 1);
        drop(other);
        assert!(matches!(answer.join(), Err(TaskError::Closed)));
        assert!(sender.is_closed());

        // One of two that go at the same time is the last.
        for _ in 0..sample(2000) {
            let (sender, receiver) = channel::bounded(1);
            let item = Arc::new(());
            sender.try_send(item.clone()).unwrap();
            let other = receiver.clone();
            let drops = thread::spawn(move || drop(other));
            drop(receiver);
            drops.join().unwrap();
            assert_eq!(Arc::strong_count(&item), 1);
        }
    });
}

#[test]
fn an_item_whose_destructor_panics_keeps_no_other_queued() {
    struct Item(Arc<AtomicUsize>);
    impl Drop for Item {
        fn drop(&mut self) {
            assert_ne!(self.0.fetch_add(1, Ordering::Relaxed), 0, "the first one");
        }
    }
    let (sender, receiver) = channel::unbounded();
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        sender.try_send(Item(dropped.clone())).ok().unwrap();
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(receiver))).is_err());
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_senders_thread_waits_until_nobody_receives() {
    within_deadline(|| {
        let (sender, receiver) = channel::unbounded::<()>();
        let (shouts, listener) = broadcast::channel::<()>(1);
        let drops = thread::spawn(move || drop((receiver, listener)));
        sender.closed_blocking();
        shouts.closed_blocking();
        assert!(sender.is_closed() && shouts.receiver_count() == 0);
        drops.join().unwrap();
    });
}

#[test]
fn a_semaphore_limits_and_a_barrier_gathers() {
    within_deadline(|| {
        let limit = Arc::new((Semaphore::new(2), AtomicUsize::new(0)));
        let barrier = Arc::new(Barrier::new(6));
        let threads: Vec<_> = (0..6)
            .map(|i| {
                let (limit, barrier) = (limit.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait_blocking();
                    let _permit = if i % 2 == 0 {
                        limit.0.acquire_blocking()
                    } else {
                        trefoil::run(limit.0.acquire())
                    };
                    let inside = limit.1.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(inside <= 2);
                    thread::yield_now();
                    limit.1.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let lock = RwLock::new(5);
        assert_eq!(*lock.read_blocking() + *lock.read_blocking(), 10);
        *lock.write_blocking() += 1;
        assert_eq!(lock.into_inner(), 6);
    });
}

#[test]
fn a_cell_is_filled_once_whoever_comes_first() {
    within_deadline(|| {
        let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (cell, made) = (cell.clone(), made.clone());
                let make = move || {
                    made.fetch_add(1, Ordering::SeqCst);
                    n
                };
                thread::spawn(move || {
                    let here = cell.get_or_init_blocking(make);
                    let there = trefoil::run(async { *cell.wait().await });
                    assert_eq!(*here, there);
                    there
                })
            })
            .collect();
        let values: Vec<i32> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(values.iter().all(|value| *value == values[0]));
        assert_eq!(made.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_receiver_is_iterated_on_a_thread() {
    let (sender, receiver) = channel::bounded(1);
    let sending = thread::spawn(move || (0..100).for_each(|n| sender.send_blocking(n).unwrap()));
    let mut seen: Vec<i32> = receiver.iter().take(50).collect();
    for n in &receiver {
        seen.push(n);
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert_eq!(receiver.into_iter().next(), None);
    sending.join().unwrap();
}
