//! Small programs for Miri, which checks the unsafe code as users drive it: tasks on a loop,
//! timers, wake-ups from other threads, wakers that outlive their loop, the thread pool. (`.ci/long
//! miri`; no sockets and no processes, which Miri does not support.) Compiled, they are ordinary
//! tests.
//!
//! All numbers are small, because Miri takes microseconds for each step.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod deadline;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use deadline::within_deadline;
use trefoil::time::sleep;
use trefoil::{
    CancelToken, Completer, EventLoop, Shutdown, Task, TaskError, TaskGroup, ThreadPool,
    as_completed, join_all, race, run, spawn, timeout, yield_now,
};

#[test]
fn tasks_of_all_sizes_come_and_go() {
    within_deadline(|| {
        let sum: u64 = run(async {
            let mut sum = 0;
            for _ in 0..3 {
                let small: Vec<_> = (0..20_u64).map(|i| spawn(async move { i })).collect();
                let large: Vec<_> = (0..5_u64)
                    .map(|i| {
                        let much = [i; 60];
                        spawn(async move {
                            yield_now().await;
                            much.iter().sum::<u64>()
                        })
                    })
                    .collect();
                for task in small.into_iter().rev().chain(large) {
                    sum += task.await.unwrap();
                }
            }
            sum
        });
        assert_eq!(sum, 3 * (190 + 600));
    });
}

#[test]
fn cancelled_detached_panicked_and_left() {
    /// Counts its drops, and spawns a task when it is dropped.
    struct Last(Rc<Cell<u32>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            spawn(async {}).detach();
        }
    }
    within_deadline(|| {
        let dropped = Rc::new(Cell::new(0));
        run(async {
            let waits = || {
                let last = Last(Rc::clone(&dropped));
                spawn(async move {
                    let _last = last;
                    pending::<()>().await;
                })
            };
            let (cancelled, dropped_early, _left) = (waits(), waits(), waits());
            yield_now().await;
            assert!(cancelled.cancel());
            assert!(matches!(cancelled.await, Err(TaskError::Cancelled)));
            drop(dropped_early.cancel_on_drop());
            let panicked = spawn(async { std::panic::resume_unwind(Box::new("as asked")) });
            assert!(matches!(panicked.await, Err(TaskError::Panicked(_))));
            waits().detach();
        });
        assert_eq!(dropped.get(), 4);
    });
}

#[test]
fn timers_fire_in_order_and_are_dropped() {
    within_deadline(|| {
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let order = event_loop.block_on(async {
            let order = Rc::new(Mutex::new(Vec::new()));
            let tasks: Vec<_> = [30, 10, 5000, 20, 10]
                .into_iter()
                .map(|seconds| {
                    let order = Rc::clone(&order);
                    spawn(async move {
                        sleep(Duration::from_secs(seconds)).await;
                        order.lock().unwrap().push(seconds);
                    })
                })
                .collect();
            drop(spawn(sleep(Duration::from_secs(15))).cancel_on_drop());
            join_all(tasks).await;
            let order = order.lock().unwrap();
            order.clone()
        });
        assert_eq!(order, [10, 10, 20, 30, 5000]);
    });
}

#[test]
fn a_sleeping_loop_is_woken_from_other_threads() {
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let (ready, waits) = Completer::new();
        let other = thread::spawn(move || {
            let tasks: Vec<_> = (0..6_u64).map(|i| handle.spawn(async move { i })).collect();
            let local = handle.spawn_with(|| {
                let shared = Rc::new(1);
                async move { *shared }
            });
            handle.call_soon(|| ready.complete(Ok(()))).detach();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap())
                .sum::<u64>()
                + local.join().unwrap()
        });
        event_loop.block_on(waits).unwrap();
        // The tasks that it has spawned run while the loop waits for their sum.
        let (tell, sum) = Completer::new();
        let joins = thread::spawn(move || tell.complete(Ok(other.join().unwrap())));
        let sum = event_loop.block_on(sum).unwrap();
        joins.join().unwrap();
        assert_eq!(sum, 16);
    });
}

/// Keeps the waker that it is polled with.
fn keeps(kept: &Mutex<Option<Waker>>) -> impl Future<Output = ()> {
    poll_fn(|cx| {
        *kept.lock().unwrap() = Some(cx.waker().clone());
        Poll::<()>::Pending
    })
}

#[test]
fn wakers_and_tasks_outlive_their_loop() {
    static KEPT: Mutex<Option<Waker>> = Mutex::new(None);
    static ROOT: Mutex<Option<Waker>> = Mutex::new(None);
    within_deadline(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let mut kept = None;
        event_loop.block_on(async {
            kept = Some(spawn(keeps(&KEPT)));
            yield_now().await;
            // The waker of the root future, which does not belong to a task.
            poll_fn(|cx| {
                assert!(pin!(keeps(&ROOT)).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        let task = kept.unwrap();
        drop(event_loop);
        let ends = thread::spawn(move || {
            for kept in [&KEPT, &ROOT] {
                let waker = kept.lock().unwrap().take().unwrap();
                waker.wake_by_ref();
                let other = waker.clone();
                drop(waker);
                other.wake();
            }
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            assert!(matches!(
                handle.spawn(async {}).join(),
                Err(TaskError::Closed)
            ));
        });
        ends.join().unwrap();
    });
}

#[test]
fn cells_are_freed_by_other_threads() {
    within_deadline(|| {
        let (send, receive) = std::sync::mpsc::channel::<Task<[u64; 9]>>();
        let ends = thread::spawn(move || {
            receive
                .into_iter()
                .map(|task| task.join().unwrap()[0])
                .sum::<u64>()
        });
        run(async move {
            for i in 0..8 {
                let task = spawn(async move { [i; 9] });
                yield_now().await;
                send.send(task).unwrap();
            }
        });
        assert_eq!(ends.join().unwrap(), 28);
    });
}

#[test]
fn promises_groups_and_races() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    within_deadline(|| {
        let (completer, task) = Completer::new();
        let mut awaited = task;
        let waker = Waker::from(Arc::new(Nothing));
        assert!(
            Pin::new(&mut awaited)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let other = thread::spawn(move || completer.complete(Ok(7)));
        assert_eq!(awaited.join().unwrap(), 7);
        other.join().unwrap();

        let (completers, tasks): (Vec<_>, Vec<_>) = (0..4).map(|_| Completer::new()).unzip();
        let first = thread::spawn(move || {
            for (i, completer) in completers.into_iter().enumerate().rev() {
                completer.complete(Ok(i));
            }
        });
        let mut all: Vec<_> = as_completed(tasks)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        first.join().unwrap();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);

        run(async {
            let lost = spawn(pending());
            assert_eq!(race([lost, spawn(async { 2 })]).await.unwrap(), 2);
            let mut group = TaskGroup::new();
            for i in 0..3 {
                group.add(spawn(async move { i }).map(|i| i * 2));
            }
            assert_eq!(group.try_join_all().await.unwrap(), [0, 2, 4]);
            let token = CancelToken::new();
            let child = token.child();
            token.cancel();
            child.cancelled().await;
        });
    });
}

/// A value so large that a task stores its box. They are counted.
struct Large {
    count: Arc<AtomicUsize>,
    bytes: [u8; 4200],
}

impl Large {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self {
            count: Arc::clone(count),
            bytes: [7; 4200],
        }
    }
}

impl Clone for Large {
    fn clone(&self) -> Self {
        Self::new(&self.count)
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        assert_eq!((self.bytes[0], self.bytes[4199]), (7, 7));
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A future that ends with its value, and panics when it is dropped.
struct Breaks(Option<Large>);

impl Future for Breaks {
    type Output = Large;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Large> {
        self.0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Breaks {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("as asked"));
    }
}

#[test]
fn large_results_are_dropped_once() {
    within_deadline(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let make = || Large::new(&count);

        let mut taken = Task::ready(make());
        assert!(matches!(taken.try_join(), Some(Ok(_))));
        assert!(matches!(taken.try_join(), Some(Err(TaskError::Closed))));
        drop(taken);
        drop(Task::ready(make()));

        let (completer, task) = Completer::new();
        let other = thread::spawn({
            let value = make();
            move || completer.complete(Ok(value))
        });
        assert!(task.join().is_ok());
        other.join().unwrap();
        let (completer, task) = Completer::new();
        task.cancel();
        completer.complete(Ok(make()));
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        let (completer, task) = Completer::<Large>::new();
        drop(completer);
        assert!(matches!(task.join(), Err(TaskError::Closed)));
        let (completer, mut task) = Completer::<Large>::new();
        assert!(task.join_timeout(Duration::ZERO).is_err());
        completer.complete(Err(TaskError::failed("as asked")));
        assert!(matches!(task.join(), Err(TaskError::Failed(_))));

        for ended in [true, false] {
            let (completer, task) = Completer::new();
            let shared = task.shared();
            let other = thread::spawn({
                let (shared, kept) = (shared.clone(), shared.clone());
                move || (shared.join().is_ok(), drop(kept)).0
            });
            completer.complete(ended.then(make).ok_or(TaskError::Cancelled));
            assert_eq!(
                (shared.join().is_ok(), other.join().unwrap()),
                (ended, ended)
            );
        }
        let (completer, task) = Completer::new();
        let shared = task.shared();
        completer.complete(Ok(make()));
        drop(shared);

        assert!(
            Task::ready(1)
                .map({
                    let value = make();
                    move |_| value
                })
                .join()
                .is_ok()
        );
        let broken =
            Task::ready(make()).map(|_| -> Large { std::panic::resume_unwind(Box::new(1)) });
        assert!(matches!(broken.join(), Err(TaskError::Panicked(_))));
        assert!(
            Task::ready(Ok::<_, TaskError>(make()))
                .flatten()
                .join()
                .is_ok()
        );
        Task::ready(make()).on_done(|result| assert!(result.is_ok()));
        let (completer, task) = Completer::new();
        task.on_done(|result| assert!(result.is_ok()));
        completer.complete(Ok(make()));
        assert!(
            timeout(Duration::from_secs(60), Task::ready(make()))
                .join()
                .is_ok()
        );

        assert_eq!(count.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn large_results_of_futures_are_dropped_once() {
    within_deadline(|| {
        let count = Arc::new(AtomicUsize::new(0));
        run(async {
            let future = || {
                let value = Large::new(&count);
                async {
                    yield_now().await;
                    value
                }
            };
            assert!(spawn(future()).await.is_ok());
            let (cancelled, dropped) = (spawn(future()), spawn(future()).cancel_on_drop());
            let (detached, left) = (spawn(future()), spawn(future()));
            assert!(cancelled.cancel());
            drop(dropped);
            drop(detached);
            assert!(matches!(cancelled.await, Err(TaskError::Cancelled)));
            // (The panic of the destructor is the result's end.)
            let broken = spawn(Breaks(Some(Large::new(&count))));
            assert!(matches!(broken.await, Err(TaskError::Panicked(_))));

            let mut group = TaskGroup::new();
            group.add(spawn(future()));
            group.add_future(future());
            let value = Large::new(&count);
            group.add_try_future(async { Ok(value) });
            group.add_try_future(async { Err(TaskError::failed("as asked")) });
            let mut ended = Vec::new();
            for _ in 0..3 {
                ended.push(group.next().await.unwrap().1.is_ok());
            }
            assert!(ended.iter().filter(|ended| **ended).count() >= 2);
            drop(group);

            assert!(race([spawn(future()), spawn(future())]).await.is_ok());
            assert_eq!(join_all([spawn(future()), spawn(future())]).await.len(), 2);
            let mut results = as_completed([spawn(future()), spawn(future())]);
            assert!(results.next().await.unwrap().is_ok());
            drop(results);
            drop(left);
        });
        assert_eq!(count.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_pool_drops_large_results_once() {
    within_deadline(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let pool = ThreadPool::with_threads(2);
        let value = || {
            let value = Large::new(&count);
            move || value
        };
        assert!(pool.spawn(value()).join().is_ok());
        drop(pool.spawn(value()));
        let cancelled = pool.spawn(value());
        cancelled.cancel();
        drop(cancelled.join());
        let (_first, second) = pool.join(value(), value());
        drop(second);
        pool.scope(|s| {
            assert!(s.spawn(value()).join().is_ok());
            drop(s.spawn(value()));
        });
        let future = value();
        let future = pool.spawn_async(async move {
            yield_now().await;
            future()
        });
        assert!(future.join().is_ok());
        pool.shutdown(Shutdown::Wait);
        assert!(matches!(pool.spawn(value()).join(), Err(TaskError::Closed)));
        assert_eq!(
            count.load(Ordering::Relaxed),
            1,
            "the first half of the join"
        );
    });
}

#[test]
fn a_pool_of_two() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let numbers: Vec<u32> = (0..10).collect();
        assert_eq!(pool.map(&numbers, |n| n * 2).iter().sum::<u32>(), 90);
        let (a, b) = pool.join(|| 1, || pool.scope(|s| s.spawn(|| 2).join().unwrap()));
        assert_eq!(a + b, 3);
        let task = pool.spawn(|| 4);
        let future = pool.spawn_async(async {
            yield_now().await;
            5
        });
        let panicked: Task<()> = pool.spawn(|| std::panic::resume_unwind(Box::new("as asked")));
        assert_eq!(task.join().unwrap() + future.join().unwrap(), 9);
        assert!(matches!(panicked.join(), Err(TaskError::Panicked(_))));
        pool.spawn(|| ()).detach();
        pool.shutdown(Shutdown::Wait);
        assert!(matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed)));
    });
}

#[test]
fn a_pool_runs_the_tasks_of_scopes() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let words = ["a", "bc", "def", "ghij", "klmno"].map(String::from);
        for _ in 0..2 {
            let letters = pool.scope(|s| {
                let mut tasks = words.iter().map(|word| {
                    s.spawn(move || {
                        drop(s.spawn(move || word.clone()));
                        s.spawn_detached(move || drop(word.clone()));
                        vec![word.clone(); word.len()]
                    })
                });
                drop(tasks.next());
                let tasks: Vec<_> = tasks.collect();
                let panicked = s.spawn(|| std::panic::resume_unwind(Box::new("as asked")));
                let letters = tasks.into_iter().rev().map(|task| {
                    let copies = task.join().unwrap();
                    copies.iter().map(String::len).sum::<usize>()
                });
                let letters: usize = letters.sum();
                let panicked: Result<(), TaskError> = panicked.join();
                assert!(matches!(panicked, Err(TaskError::Panicked(_))));
                letters
            });
            assert_eq!(letters, 4 + 9 + 16 + 25);
        }
        // A task that waits for another, tasks of an outer scope, and a thread that has no place in
        // the pool.
        let (ran, pool) = (AtomicUsize::new(0), &pool);
        let count = || ran.fetch_add(1, Ordering::Relaxed);
        pool.scope(|outer| {
            pool.scope(|s| {
                let first = s.spawn(count);
                s.spawn(move || first.join().unwrap());
                outer.spawn(count);
                drop(s.spawn(|| drop(s.spawn(count))));
            });
            thread::scope(|other| {
                other.spawn(|| outer.spawn(count).join().unwrap());
                other.spawn(|| drop(outer.spawn(count)));
            });
        });
        assert_eq!(ran.load(Ordering::Relaxed), 5);
    });
}

/// Results in their places, sorts in place and by merging, and drops after a failure.
#[test]
fn a_pool_divides_and_sorts() {
    use trefoil::prelude::*;

    let pool = ThreadPool::with_threads(2);
    pool.install(|| {
        let words: Vec<String> = (0..40).map(|n| (n * 7 % 40).to_string()).collect();
        let doubled: Vec<String> = words.par_iter().map(|word| word.repeat(2)).collect();
        assert!(
            doubled
                .iter()
                .zip(&words)
                .all(|(two, one)| *two == one.repeat(2))
        );
        let failed: Result<Vec<String>, String> = words
            .clone()
            .into_par_iter()
            .map(|word| if word == "13" { Err(word) } else { Ok(word) })
            .collect();
        assert_eq!(failed.unwrap_err(), "13");
        let mut stable = doubled.clone();
        stable.par_sort_by_key(String::len);
        let mut unstable = doubled.clone();
        unstable.par_sort_unstable();
        let mut expected = doubled;
        expected.sort_by_key(String::len);
        assert_eq!(stable, expected);
        expected.sort_unstable();
        assert_eq!(unstable, expected);
        assert_eq!(expected.par_drain(5..35).map(|word| word.len()).count(), 30);
    });
}

/// An owned guard of a lock keeps it in memory, and drops its value once.
#[test]
fn owned_guards_outlive_the_handle_that_they_came_from() {
    use std::sync::Arc;
    use trefoil::sync;

    within_deadline(|| {
        let value = Arc::new(());
        let lock = Arc::new(sync::Mutex::new((value.clone(), 1)));
        let weak = Arc::downgrade(&lock);
        let mut held = lock.try_lock_arc().unwrap();
        assert!(lock.try_lock_arc().is_none());
        let theirs = lock.clone();
        let waiting = thread::spawn(move || theirs.lock_arc_blocking().1);
        drop(lock);
        held.1 = 2;
        thread::spawn(move || drop(held)).join().unwrap();
        assert_eq!(waiting.join().unwrap(), 2);
        assert_eq!((weak.strong_count(), Arc::strong_count(&value)), (0, 1));
    });
}
