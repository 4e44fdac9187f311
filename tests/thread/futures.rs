//! `ThreadPool::spawn_async`: futures on the pool's workers.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use deadline::{eventually, sample, within_deadline};
use trefoil::{CancelToken, Completer, Shutdown, Task, TaskError, ThreadPool};

/// Pending once, and woken at once.
async fn yields() {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sends the index of the thread on which it is dropped.
struct Tell(mpsc::Sender<Option<usize>>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(trefoil::thread::current_index());
    }
}

fn is_cancelled<T>(result: Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Cancelled))
}

fn is_closed<T>(result: Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Closed))
}

#[test]
fn a_future_runs_on_the_workers_and_uses_their_pool() {
    within_deadline(|| {
        let pool = ThreadPool::builder()
            .threads(2)
            .name("mine")
            .build()
            .unwrap();
        let name = || thread::current().name().unwrap_or_default().to_owned();
        let (completer, promise) = Completer::new();
        let task = pool.spawn_async(async move {
            let mut names = vec![name()];
            assert_eq!(promise.await.unwrap(), 7);
            assert!(trefoil::thread::current_index().is_some());
            names.push(name());
            trefoil::scope(|s| names.push(s.spawn(name).join().unwrap()));
            let (a, b) = trefoil::join(name, name);
            names.extend([a, b, trefoil::spawn_blocking(name).await.unwrap()]);
            names
        });
        completer.complete(Ok(7));
        let names = task.join().unwrap();
        assert!(
            names.iter().all(|name| name.starts_with("mine-")),
            "{names:?}"
        );
        assert_eq!(names.len(), 6);
    });
}

#[test]
fn where_it_was_spawned_and_what_it_panics_with_are_told() {
    within_deadline(|| {
        let (tell, told) = mpsc::channel();
        let pool = ThreadPool::builder()
            .threads(1)
            .on_unobserved(move |report| tell.send(format!("{report}")).unwrap())
            .build()
            .unwrap();
        let here = line!() + 1;
        let task = pool.spawn_async(async { panic!("on purpose") });
        assert_eq!(task.spawned_at().line(), here);
        let Err(TaskError::Panicked(panic)) = task.join() else {
            unreachable!("it panicked")
        };
        assert_eq!(panic.message(), "on purpose");
        pool.spawn_async(async { panic!("unheard") }).detach();
        assert!(told.recv().unwrap().contains("unheard"));
        // A destructor's panic is the task's, too.
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("bomb");
            }
        }
        struct Holds(#[allow(dead_code)] Bomb);
        impl Future for Holds {
            type Output = ();
            fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                Poll::Ready(())
            }
        }
        let task = pool.spawn_async(Holds(Bomb));
        assert!(
            matches!(task.join(), Err(TaskError::Panicked(panic)) if panic.message() == "bomb")
        );
        // Nor does it do harm at the end of the pool.
        let task = pool.spawn_async(async {
            let _bomb = Bomb;
            pending::<()>().await;
        });
        drop(pool);
        assert!(is_closed(task.join()));
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn a_worker_polls_what_it_joins() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let inner = pool.spawn_async(async {
            let name = trefoil::thread::current_index();
            yields().await;
            name
        });
        assert_eq!(inner.join().unwrap(), Some(0));
        // One worker, thrice: no spare is needed for the first poll.
        let index = pool.install(|| {
            let child = pool.spawn_async(async { trefoil::thread::current_index() });
            child.join().unwrap()
        });
        assert_eq!(index, Some(0));
        // One that sleeps in between is polled by a spare.
        let seen = pool.install(|| {
            let (completer, promise) = Completer::new();
            let child = pool.spawn_async(async move {
                let before = trefoil::thread::current_index();
                let value: u32 = promise.await.unwrap();
                (before, value, trefoil::thread::current_index().is_some())
            });
            pool.spawn(move || completer.complete(Ok(5))).detach();
            child.join().unwrap()
        });
        assert_eq!(seen, (Some(0), 5, true));
    });
}

#[test]
fn a_child_awaited_under_a_lock_that_a_queued_task_needs() {
    within_deadline(|| {
        // One worker; it holds a lock, and what is queued before and after its child wants it.
        let pool = Arc::new(ThreadPool::with_threads(1));
        for round in 0..6 {
            let lock = Arc::new(Mutex::new(()));
            let (held_send, held) = mpsc::channel();
            let (go, gone) = mpsc::channel();
            let (mine, inner) = (Arc::clone(&lock), Arc::clone(&pool));
            let waiter = pool.spawn(move || {
                let _guard = mine.lock().unwrap();
                held_send.send(()).unwrap();
                gone.recv().unwrap();
                // It ends at its first poll, or must be found again once or twice.
                let child = inner.spawn_async(async move {
                    for _ in 0..round % 3 {
                        yields().await;
                    }
                    7
                });
                child.join().unwrap()
            });
            held.recv().unwrap();
            let strangers: Vec<_> = (0..round)
                .map(|_| {
                    let lock = Arc::clone(&lock);
                    pool.spawn_async(async move { drop(lock.lock().unwrap()) })
                })
                .collect();
            go.send(()).unwrap();
            assert_eq!(waiter.join().unwrap(), 7);
            for stranger in strangers {
                stranger.join().unwrap();
            }
        }
    });
}

#[test]
fn a_future_that_wakes_itself_lets_others_run() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        // Never ends before the others have run; each of them is queued by the worker itself.
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let spinner = pool.install(|| {
            let tasks = (0..50).map(|i| {
                let done = Arc::clone(&counted);
                if i % 2 == 0 {
                    pool.spawn(move || {
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                } else {
                    pool.spawn_async(async move {
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                }
            });
            tasks.for_each(Task::detach);
            let done = Arc::clone(&counted);
            pool.spawn_async(async move {
                while done.load(Ordering::Relaxed) < 50 {
                    yields().await;
                }
            })
        });
        spinner.join().unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 50);
    });
}

#[test]
fn two_that_wake_each_other_let_the_others_run() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let stop = Arc::new(AtomicBool::new(false));
        let wakers: Arc<[Mutex<Option<Waker>>; 2]> = Arc::default();
        pool.install(|| {
            let (flag, ended) = (Arc::clone(&stop), Arc::clone(&wakers));
            // The oldest in the worker's deque, below those two.
            pool.spawn(move || {
                flag.store(true, Ordering::Relaxed);
                for waker in &*ended {
                    if let Some(waker) = waker.lock().unwrap().take() {
                        waker.wake();
                    }
                }
            })
            .detach();
            for me in 0..2 {
                let (stop, wakers) = (Arc::clone(&stop), Arc::clone(&wakers));
                let ball = poll_fn(move |cx| {
                    *wakers[me].lock().unwrap() = Some(cx.waker().clone());
                    if stop.load(Ordering::Relaxed) {
                        return Poll::Ready(());
                    }
                    let other = wakers[1 - me].lock().unwrap().take();
                    if let Some(other) = other {
                        other.wake();
                    }
                    Poll::Pending
                });
                pool.spawn_async(ball).detach();
            }
        });
        eventually("the third has its turn", || stop.load(Ordering::Relaxed));
    });
}

#[test]
fn a_cancelled_future_is_dropped_by_a_worker() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (tell, told) = mpsc::channel();
        let tell = Tell(tell);
        let (started, starts) = mpsc::channel();
        let task = pool.spawn_async(async move {
            let _tell = tell;
            started.send(()).unwrap();
            pending::<()>().await;
        });
        starts.recv().unwrap();
        assert!(task.cancel());
        assert!(told.recv().unwrap().is_some(), "on a worker");
        assert!(is_cancelled(task.join()));
        // A running future sees its token, and its output is not used then.
        let (started, starts) = mpsc::channel();
        let task = pool.spawn_async(async move {
            let token = CancelToken::current();
            started.send(()).unwrap();
            while !token.is_cancelled() {
                yields().await;
            }
            7
        });
        starts.recv().unwrap();
        assert!(task.cancel());
        assert!(is_cancelled(task.join()));
    });
}

#[test]
fn shutdown_runs_what_can_run_and_closes_what_waits() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (tell, told) = mpsc::channel();
        let held = Tell(tell.clone());
        let pending_one = pool.spawn_async(async move {
            let _held = held;
            pending::<()>().await;
        });
        let (completer, promise) = Completer::<()>::new();
        let held = Tell(tell);
        let waits = pool.spawn_async(async move {
            let _held = held;
            promise.await
        });
        let runnable = pool.spawn_async(async {
            for _ in 0..1000 {
                yields().await;
            }
            7
        });
        pool.shutdown(Shutdown::Wait);
        assert_eq!(runnable.join().unwrap(), 7);
        assert!(is_closed(pending_one.join()));
        assert!(is_closed(waits.join()));
        assert_eq!(told.try_iter().count(), 2);
        assert!(is_closed(pool.spawn_async(async { 1 }).join()));
        completer.complete(Ok(()));
        pool.shutdown(Shutdown::CancelPending);
    });
}

#[test]
fn what_is_woken_from_outside_while_the_pool_ends_is_run() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let (completer, promise) = Completer::<u32>::new();
        let (started, starts) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let woken = pool.spawn_async(async move { promise.await.unwrap() });
        let busy = pool.spawn(move || {
            started.send(()).unwrap();
            gone.recv().unwrap();
        });
        starts.recv().unwrap();
        let ender = thread::scope(|s| {
            let ender = s.spawn(|| pool.shutdown(Shutdown::Wait));
            eventually("it refuses", || {
                let task = pool.spawn(|| ());
                let refused = task.is_finished();
                refused && is_closed(task.join())
            });
            completer.complete(Ok(9));
            go.send(()).unwrap();
            ender.join()
        });
        ender.unwrap();
        busy.join().unwrap();
        assert_eq!(woken.join().unwrap(), 9);
    });
}

#[test]
fn cancel_pending_cancels_waiting_futures_and_their_waiters() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(2));
        let waits: Vec<_> = (0..100)
            .map(|_| pool.spawn_async(pending::<()>()))
            .collect();
        let inner = Arc::clone(&pool);
        let (started, starts) = mpsc::channel();
        let joins = pool.spawn(move || {
            let child = inner.spawn_async(pending::<()>());
            started.send(()).unwrap();
            child.join()
        });
        starts.recv().unwrap();
        pool.shutdown(Shutdown::CancelPending);
        assert!(waits.into_iter().all(|task| is_cancelled(task.join())));
        assert!(is_cancelled(joins.join().unwrap()));
    });
}

#[test]
fn a_pool_that_is_shut_down_inside_a_future_ends_that_future_too() {
    within_deadline(|| {
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = Arc::new(ThreadPool::with_threads(2));
            let inner = Arc::clone(&pool);
            let returns = pool.spawn_async(async move {
                inner.shutdown(how);
                7
            });
            assert_eq!(returns.join().unwrap(), 7);
            pool.shutdown(how);

            let pool = Arc::new(ThreadPool::with_threads(2));
            let inner = Arc::clone(&pool);
            let waits = pool.spawn_async(async move {
                inner.shutdown(how);
                pending::<()>().await;
            });
            assert!(waits.join().is_err());
        }
    });
}

#[test]
fn a_waker_that_outlives_the_pool_keeps_nothing_of_it() {
    within_deadline(|| {
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        let alive = Arc::new(());
        let hooked = Arc::clone(&alive);
        let pool = ThreadPool::builder()
            .threads(1)
            .on_unobserved(move |_| drop(Arc::clone(&hooked)))
            .build()
            .unwrap();
        let slot = Arc::clone(&kept);
        let (started, starts) = mpsc::channel();
        let task = pool.spawn_async(poll_fn(move |cx| {
            *slot.lock().unwrap() = Some(cx.waker().clone());
            started.send(()).unwrap();
            Poll::<()>::Pending
        }));
        starts.recv().unwrap();
        drop(pool);
        assert!(task.is_finished());
        drop(task);
        let waker = kept.lock().unwrap().take().unwrap();
        waker.wake_by_ref();
        drop(waker);
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

#[test]
fn a_wake_up_under_a_lock_that_the_futures_destructor_wants() {
    within_deadline(|| {
        // The usual shape: `wake` is called with the lock held.
        struct Shared(Mutex<Option<Waker>>, AtomicUsize);
        struct Waits(Arc<Shared>);
        impl Future for Waits {
            type Output = ();
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                *self.0.0.lock().unwrap() = Some(cx.waker().clone());
                self.0.1.fetch_add(1, Ordering::Relaxed);
                Poll::Pending
            }
        }
        impl Drop for Waits {
            fn drop(&mut self) {
                self.0.0.lock().unwrap().take();
            }
        }
        for how in [Shutdown::Wait, Shutdown::CancelPending] {
            let pool = ThreadPool::with_threads(1);
            let shared = Arc::new(Shared(Mutex::new(None), AtomicUsize::new(0)));
            let task = pool.spawn_async(Waits(Arc::clone(&shared)));
            let over = Arc::new(AtomicBool::new(false));
            let (stop, theirs) = (Arc::clone(&over), Arc::clone(&shared));
            let waker = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(waker) = &*theirs.0.lock().unwrap() {
                        waker.wake_by_ref();
                    }
                }
            });
            eventually("it is woken again and again", || {
                shared.1.load(Ordering::Relaxed) > 10
            });
            // The future is woken all the time, so `Wait` may find it runnable for ever: by turns.
            if how == Shutdown::Wait {
                over.store(true, Ordering::Relaxed);
            }
            pool.shutdown(how);
            over.store(true, Ordering::Relaxed);
            waker.join().unwrap();
            assert!(task.join().is_err());
        }
    });
}

#[test]
fn wake_ups_from_everywhere_while_the_pool_ends() {
    within_deadline(|| {
        for round in 0..60 {
            let how = [Shutdown::Wait, Shutdown::CancelPending][round % 2];
            let pool = Arc::new(ThreadPool::with_threads(1 + round % 3));
            let dropped = Arc::new(AtomicUsize::new(0));
            struct Count(Arc<AtomicUsize>);
            impl Drop for Count {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::Relaxed);
                }
            }
            let (mut completers, mut tasks) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                let (completer, promise) = Completer::<usize>::new();
                let count = Count(Arc::clone(&dropped));
                completers.push(completer);
                tasks.push(pool.spawn_async(async move {
                    let _count = count;
                    let mut sum = promise.await?;
                    for _ in 0..3 {
                        yields().await;
                        sum += 1;
                    }
                    Ok::<_, TaskError>(sum)
                }));
            }
            let foreign = thread::spawn(move || {
                for (i, completer) in completers.into_iter().enumerate() {
                    completer.complete(Ok(i));
                }
            });
            let spawner = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let tasks = (0..100).map(|_| pool.spawn_async(yields()));
                    tasks.collect::<Vec<_>>()
                })
            };
            if round % 5 != 0 {
                thread::yield_now();
            }
            pool.shutdown(how);
            foreign.join().unwrap();
            for (i, task) in tasks.into_iter().enumerate() {
                match task.join() {
                    Ok(sum) => assert_eq!(sum.unwrap(), i + 3),
                    Err(TaskError::Closed) => assert_eq!(how, Shutdown::Wait),
                    Err(TaskError::Cancelled) => assert_eq!(how, Shutdown::CancelPending),
                    Err(other) => panic!("{other}"),
                }
            }
            for task in spawner.join().unwrap() {
                let _ = task.join();
            }
            assert_eq!(dropped.load(Ordering::Relaxed), 100, "round {round}");
        }
    });
}

#[test]
fn thousands_wake_one_another_across_workers() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(3);
        // A ring of channels: each hands on what it gets, a few times round.
        let (first, mut last) = trefoil::sync::channel::bounded::<u64>(1);
        let tasks: Vec<_> = (0..3000)
            .map(|_| {
                let (sender, receiver) = trefoil::sync::channel::bounded(1);
                let receives = std::mem::replace(&mut last, receiver);
                pool.spawn_async(async move {
                    while let Ok(n) = receives.recv().await {
                        if sender.send(n + 1).await.is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        let sums = pool.spawn_async(async move {
            let mut sums = Vec::new();
            for n in 0..10 {
                first.send(n).await.unwrap();
                sums.push(last.recv().await.unwrap());
            }
            sums
        });
        let sums = sums.join().unwrap();
        assert!(
            sums.iter()
                .enumerate()
                .all(|(n, &sum)| sum == n as u64 + 3000)
        );
        for task in tasks {
            task.join().unwrap();
        }
    });
}

#[test]
fn thousands_each_wait_for_the_next() {
    // (As many threads as fit into 32 bits with their stacks.)
    let most = if cfg!(target_pointer_width = "64") {
        10_000
    } else {
        500
    };
    let count = sample(most) as u64;
    within_deadline(move || {
        let pool = ThreadPool::with_threads(2);
        // Awaiting, and most of them blocking in their polls.
        let mut next = pool.spawn_async(async { 0_u64 });
        for i in 0..count {
            let task = next;
            next = pool.spawn_async(async move {
                if i % 5 > 0 {
                    task.join().unwrap() + 1
                } else {
                    task.await.unwrap() + 1
                }
            });
        }
        assert_eq!(next.join().unwrap(), count);
    });
}

#[test]
fn groups_and_timeouts_mix_futures_with_the_rest() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let stuck = pool.spawn_async(pending::<u32>());
        let late = trefoil::timeout(Duration::from_millis(5), stuck.cancel_on_drop()).join();
        assert!(matches!(late, Err(TaskError::TimedOut(_))));
        let within = pool.spawn_async(async {
            trefoil::timeout(Duration::from_millis(5), pending::<()>()).await
        });
        assert!(matches!(
            within.join().unwrap(),
            Err(TaskError::TimedOut(_))
        ));
        let tasks = vec![
            pool.spawn(|| 1),
            pool.spawn_async(async { 2 }),
            Task::ready(3),
        ];
        assert_eq!(trefoil::try_join_all(tasks).join().unwrap(), [1, 2, 3]);
        // A timer of the event loop fails with a message that it needs a loop.
        let sleeps = pool.spawn_async(trefoil::time::sleep(Duration::from_millis(1)));
        assert!(matches!(sleeps.join(), Err(TaskError::Panicked(_))));
    });
}
