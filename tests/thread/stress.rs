//! The thread pool under load: everything at once, from many threads, while it ends.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::{deadline, with_all_processors_and_with_one};

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use deadline::{eventually, sample, threads_named, within_deadline};
use trefoil::{CancelToken, Shutdown, Task, TaskError, ThreadPool};

/// A pool that its hooks can reach.
type Late = Arc<OnceLock<Arc<ThreadPool>>>;

#[test]
fn a_thread_that_ends_shuts_its_pool_down() {
    // A thread that does not sleep yet becomes a spare, which ends seconds later; so this is done
    // only when all rounds are requested.
    let one = |(how, name): (Shutdown, &'static str)| {
        within_deadline(move || {
            let late: Late = Arc::default();
            let theirs = Arc::clone(&late);
            let is_first = AtomicBool::new(true);
            let (tell, told) = mpsc::channel();
            let pool = ThreadPool::builder()
                .threads(2)
                .name(name)
                // The dismissed one, whose index is 0 if it began in the narrower pool.
                .on_exit(move |_| {
                    if is_first.swap(false, Ordering::Relaxed) {
                        theirs.get().unwrap().shutdown(how);
                        tell.send(()).unwrap();
                    }
                })
                .build()
                .unwrap();
            let pool = Arc::new(pool);
            late.set(Arc::clone(&pool)).unwrap();
            if std::env::var_os("TREFOIL_FULL").is_none() {
                eventually("all sleep", || {
                    format!("{pool:?}").contains("running: 0, searching: 0")
                });
            }
            pool.resize(1);
            told.recv().unwrap();
            assert!(matches!(pool.spawn(|| 1).join(), Err(TaskError::Closed)));
            pool.shutdown(Shutdown::Wait);
            eventually("the threads end", || threads_named(name) == 0);
        });
    };
    let (wait, cancel) = (Shutdown::Wait, Shutdown::CancelPending);
    thread::scope(|s| {
        s.spawn(|| one((wait, "exit-wait")));
        s.spawn(|| one((cancel, "exit-cancel")));
    });
}

#[test]
fn a_thread_that_starts_shuts_its_pool_down() {
    within_deadline(move || {
        let late: Late = Arc::default();
        let theirs = Arc::clone(&late);
        let (tell, told) = mpsc::channel();
        let pool = ThreadPool::builder()
            .threads(1)
            .on_start(move |index| {
                if index == 1 {
                    theirs.get().unwrap().shutdown(Shutdown::Wait);
                    tell.send(()).unwrap();
                }
            })
            .build()
            .unwrap();
        let pool = Arc::new(pool);
        late.set(Arc::clone(&pool)).unwrap();
        pool.resize(2);
        told.recv().unwrap();
        assert!(matches!(pool.spawn(|| 1).join(), Err(TaskError::Closed)));
    });
}

/// When dropped, drops the pool if it is the last owner, and reports that.
struct LastOwner(Option<Arc<ThreadPool>>, mpsc::Sender<()>);

impl Drop for LastOwner {
    fn drop(&mut self) {
        let pool = self.0.take().unwrap();
        while Arc::strong_count(&pool) > 1 {
            thread::yield_now();
        }
        drop(pool);
        self.1.send(()).unwrap();
    }
}

thread_local! {
    static LAST: RefCell<Option<LastOwner>> = const { RefCell::new(None) };
}

/// The last owner of a pool is a thread-local of one of its own threads, which has been dismissed.
#[test]
fn a_pool_is_dropped_by_a_thread_local_of_its_own_thread() {
    within_deadline(|| {
        let pool = Arc::new(
            ThreadPool::builder()
                .threads(2)
                .name("tls")
                .build()
                .unwrap(),
        );
        let (tell, told) = mpsc::channel();
        pool.broadcast(|index| {
            if index == 1 {
                let owner = LastOwner(Some(Arc::clone(&pool)), tell.clone());
                LAST.with(|last| *last.borrow_mut() = Some(owner));
            }
        });
        pool.resize(1);
        drop(pool);
        told.recv().unwrap();
        eventually("the threads end", || threads_named("tls-") == 0);
    });
}

#[test]
fn cancel_pending_cancels_every_future_that_waits() {
    within_deadline(|| {
        for round in 0..200 {
            let pool = Arc::new(ThreadPool::with_threads(2));
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    pool.spawn_async(async {
                        for _ in 0..3 {
                            let mut yielded = false;
                            poll_fn(|cx| {
                                if std::mem::replace(&mut yielded, true) {
                                    return Poll::Ready(());
                                }
                                cx.waker().wake_by_ref();
                                Poll::Pending
                            })
                            .await;
                        }
                        std::future::pending::<()>().await;
                    })
                })
                .collect();
            if round % 2 == 0 {
                thread::yield_now();
            }
            pool.shutdown(Shutdown::CancelPending);
            for task in tasks {
                let result = task.join();
                assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
            }
        }
    });
}

/// A task that an outside thread claims still belongs to the pool.
#[test]
fn a_task_that_its_waiter_runs_is_inside_of_its_pool() {
    within_deadline(|| {
        let pool = ThreadPool::builder()
            .threads(1)
            .name("inside")
            .build()
            .unwrap();
        // The only worker is busy, so the waiter runs it.
        let (go, gone) = mpsc::channel::<()>();
        let busy = pool.spawn(move || gone.recv().unwrap());
        eventually("it runs", || !format!("{busy:?}").contains("SCHEDULED"));
        let name = pool.spawn(|| {
            let (tell, told) = mpsc::channel();
            trefoil::spawn_blocking(move || {
                tell.send(thread::current().name().map(str::to_owned))
                    .unwrap();
            })
            .detach();
            told
        });
        let told = name.join().unwrap();
        go.send(()).unwrap();
        busy.join().unwrap();
        assert_eq!(told.recv().unwrap().as_deref(), Some("inside-0"));
    });
}

#[test]
fn million_self_wakes_beside_closures() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let mut left = 1_000_000 / 4;
                pool.spawn_async(poll_fn(move |cx| {
                    left -= 1;
                    if left == 0 {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }))
            })
            .collect();
        for i in 0..2000 {
            assert_eq!(pool.spawn(move || i).join().unwrap(), i);
        }
        for task in wakers {
            task.join().unwrap();
        }
    });
}

/// Wakers that other threads keep, clone, call and drop long after the pool's end.
#[test]
fn wakers_outlive_everything() {
    within_deadline(|| {
        with_all_processors_and_with_one(|| {
            let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
            let dropped = Arc::new(AtomicUsize::new(0));
            struct Count(Arc<AtomicUsize>);
            impl Drop for Count {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::SeqCst);
                }
            }
            for how in [Shutdown::Wait, Shutdown::CancelPending] {
                let pool = ThreadPool::with_threads(2);
                let stop = Arc::new(AtomicBool::new(false));
                let hammers: Vec<_> = (0..2)
                    .map(|_| {
                        let (kept, stop) = (Arc::clone(&kept), Arc::clone(&stop));
                        thread::spawn(move || {
                            while !stop.load(Ordering::Relaxed) {
                                let some: Vec<Waker> =
                                    kept.lock().unwrap().iter().take(50).cloned().collect();
                                for waker in some {
                                    waker.wake_by_ref();
                                    waker.wake();
                                }
                            }
                        })
                    })
                    .collect();
                let tasks: Vec<_> = (0..100)
                    .map(|i| {
                        let kept = Arc::clone(&kept);
                        let count = Count(Arc::clone(&dropped));
                        let mut polls = 0;
                        pool.spawn_async(poll_fn(move |cx| {
                            let _ = &count;
                            polls += 1;
                            if polls < 3 {
                                kept.lock().unwrap().push(cx.waker().clone());
                            }
                            if i % 2 == 0 && polls > 10 {
                                Poll::Ready(())
                            } else {
                                Poll::Pending
                            }
                        }))
                    })
                    .collect();
                eventually("all have been polled", || kept.lock().unwrap().len() >= 100);
                pool.shutdown(how);
                for task in tasks {
                    let _ = task.join();
                }
                drop(pool);
                stop.store(true, Ordering::Relaxed);
                for hammer in hammers {
                    hammer.join().unwrap();
                }
                for waker in kept.lock().unwrap().drain(..) {
                    waker.wake_by_ref();
                    waker.wake();
                }
            }
            assert_eq!(dropped.load(Ordering::SeqCst), 200);
        });
    });
}

/// Claims, cancels, wakes and drops of the same futures, all at once.
#[test]
fn futures_are_claimed_cancelled_and_woken_at_once() {
    within_deadline(|| {
        struct Once {
            busy: AtomicBool,
            polls: AtomicUsize,
            drops: AtomicUsize,
        }
        struct Guard(Arc<Once>);
        impl Drop for Guard {
            fn drop(&mut self) {
                assert!(
                    !self.0.busy.load(Ordering::SeqCst),
                    "dropped while it is polled"
                );
                self.0.drops.fetch_add(1, Ordering::SeqCst);
            }
        }
        for round in 0..sample(30) {
            let pool = Arc::new(ThreadPool::with_threads(1 + round % 3));
            let all: Arc<Mutex<Vec<Arc<Once>>>> = Arc::default();
            let outer: Vec<_> = (0..8)
                .map(|k| {
                    let (pool2, all) = (Arc::clone(&pool), Arc::clone(&all));
                    pool.spawn(move || {
                        for n in 0..40 {
                            let once = Arc::new(Once {
                                busy: AtomicBool::new(false),
                                polls: AtomicUsize::new(0),
                                drops: AtomicUsize::new(0),
                            });
                            all.lock().unwrap().push(Arc::clone(&once));
                            let guard = Guard(Arc::clone(&once));
                            let limit = 1 + (n * 7 + k) % 40;
                            let task = pool2.spawn_async(poll_fn(move |cx| {
                                let once = &guard.0;
                                assert!(
                                    !once.busy.swap(true, Ordering::SeqCst),
                                    "polled twice at once"
                                );
                                cx.waker().wake_by_ref();
                                let again = cx.waker().clone();
                                if n % 3 == 0 {
                                    thread::spawn(move || again.wake());
                                } else {
                                    again.wake();
                                }
                                let polls = once.polls.fetch_add(1, Ordering::SeqCst);
                                once.busy.store(false, Ordering::SeqCst);
                                if polls >= limit {
                                    Poll::Ready(n)
                                } else {
                                    Poll::Pending
                                }
                            }));
                            match n % 4 {
                                0 => {
                                    task.cancel();
                                    let _ = task.join();
                                }
                                1 => assert!(task.join().is_ok_and(|it| it == n)),
                                2 => task.detach(),
                                _ => {
                                    let task = task.cancel_on_drop();
                                    let mut task = task;
                                    let _ = task.join_timeout(Duration::from_micros(50));
                                }
                            }
                        }
                    })
                })
                .collect();
            for task in outer {
                task.join().unwrap();
            }
            pool.shutdown(Shutdown::Wait);
            for once in all.lock().unwrap().iter() {
                assert_eq!(once.drops.load(Ordering::SeqCst), 1);
            }
        }
    });
}

#[test]
fn everything_at_once_while_the_width_changes() {
    within_deadline(|| {
        for round in 0..6 {
            let pool = Arc::new(
                ThreadPool::builder()
                    .threads(2)
                    .name("atonce")
                    .on_unobserved(|_| ())
                    .build()
                    .unwrap(),
            );
            let stop = Arc::new(AtomicBool::new(false));
            let mut helpers = Vec::new();
            let rounds: [_; 4] = std::array::from_fn(|_| Arc::new(AtomicUsize::new(0)));
            let mut helper = |f: Box<dyn Fn(&ThreadPool) + Send>| {
                let (pool, stop) = (Arc::clone(&pool), Arc::clone(&stop));
                let round = Arc::clone(&rounds[helpers.len()]);
                helpers.push(thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        f(&pool);
                        round.fetch_add(1, Ordering::Relaxed);
                    }
                }));
            };
            helper(Box::new(|pool| {
                for n in [1, 16, 2, 0, 3] {
                    pool.resize(n);
                    assert!(n == 0 || pool.num_threads() == n);
                    thread::sleep(Duration::from_micros(300));
                }
            }));
            helper(Box::new(|pool| {
                let calls = AtomicUsize::new(0);
                let seen = pool.broadcast(|index| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    index
                });
                assert_eq!(calls.into_inner(), seen.len());
                assert!(seen.iter().copied().eq(0..seen.len()));
            }));
            helper(Box::new(|pool| {
                assert_eq!(pool.map(0..100_u64, |i| i).iter().sum::<u64>(), 4950);
                let sum: u64 = pool.imap(0..50_u64, |i| i).sum();
                assert_eq!(sum, 1225);
            }));
            let inner = Arc::clone(&pool);
            helper(Box::new(move |pool| {
                let inner = Arc::clone(&inner);
                let half = pool.spawn_async(async { 21 });
                let whole = pool.spawn(move || {
                    inner.broadcast(|_| ());
                    half.join()
                });
                match whole.join() {
                    Ok(Ok(21)) | Err(TaskError::Closed | TaskError::Cancelled) | Ok(Err(_)) => {}
                    other => panic!("{other:?}"),
                }
            }));
            // Each operation has happened many times, at many widths.
            let met = |count: &Arc<AtomicUsize>| count.load(Ordering::Relaxed) >= 20;
            eventually("they go on", || rounds.iter().all(met));
            let how = if round % 2 == 0 {
                Shutdown::Wait
            } else {
                Shutdown::CancelPending
            };
            let others: Vec<_> = (0..3)
                .map(|_| {
                    let pool = Arc::clone(&pool);
                    thread::spawn(move || pool.shutdown(how))
                })
                .collect();
            pool.shutdown(how);
            // The kernel lists a thread a moment longer than it can be joined.
            eventually("they end", || threads_named("atonce-") == 0);
            for other in others {
                other.join().unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            for helper in helpers {
                // A resize that comes too late changes nothing, and fails with an assertion.
                let _ = helper.join();
            }
            assert_eq!(threads_named("atonce-"), 0);
        }
    });
}

#[test]
fn surplus_threads_are_soon_gone() {
    within_deadline(|| {
        let pool = ThreadPool::builder()
            .threads(64)
            .name("narrow")
            .build()
            .unwrap();
        pool.for_each(0..10_000, |_| std::hint::spin_loop());
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                pool.spawn(|| {
                    trefoil::spawn_blocking(|| thread::sleep(Duration::from_millis(20)))
                        .join()
                        .unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        pool.resize(1);
        eventually("they end", || threads_named("narrow-") == 1);
        pool.resize(64);
        assert_eq!(pool.broadcast(|i| i).len(), 64);
        pool.resize(1);
        eventually("they end", || threads_named("narrow-") == 1);
        assert!(catch_unwind(AssertUnwindSafe(|| pool.resize(usize::MAX))).is_err());
        assert_eq!(pool.num_threads(), 1);
        assert_eq!(pool.spawn(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn imap_edges() {
    within_deadline(|| {
        for buffer in [0, 1, 2, usize::MAX] {
            for width in [1, 2] {
                let pool = ThreadPool::with_threads(width);
                assert!(pool.imap(0..1000, |i| i).buffer(buffer).eq(0..1000));
                let mut all: Vec<_> = pool.imap_unordered(0..1000, |i| i).buffer(buffer).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..1000));
                assert_eq!(
                    pool.imap(Vec::<u8>::new(), |i| i).buffer(buffer).next(),
                    None
                );
                assert_eq!(pool.imap([(), ()], |()| ()).buffer(buffer).count(), 2);
                // Nested, on the workers.
                let pool = Arc::new(pool);
                let inner = Arc::clone(&pool);
                let sums: Vec<u64> = pool
                    .imap(0..20_u64, move |i| {
                        inner.imap_unordered(0..i, |j| j).buffer(buffer).sum()
                    })
                    .buffer(buffer)
                    .collect();
                assert!(
                    sums.into_iter()
                        .eq((0..20_u64).map(|i| (0..i).sum::<u64>()))
                );
            }
        }
    });
}

#[test]
fn imap_tokens_of_dropped_items() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (tell, told) = mpsc::channel();
        let (start, started) = mpsc::channel();
        for ordered in [true, false] {
            let (tell, start) = (tell.clone(), start.clone());
            let work = move |i: usize| {
                if i == 0 {
                    return;
                }
                start.send(()).unwrap();
                let token = CancelToken::current();
                let end = Instant::now() + Duration::from_secs(20);
                while !token.is_cancelled() && Instant::now() < end {
                    thread::yield_now();
                }
                tell.send(token.is_cancelled()).unwrap();
            };
            let mut it = if ordered {
                pool.imap(0.., work)
            } else {
                pool.imap_unordered(0.., work)
            };
            it.next();
            started.recv().unwrap();
            drop(it);
            assert!(told.recv().unwrap());
        }
    });
}

#[test]
fn a_future_that_never_rests_does_not_keep_a_pool_that_cancels() {
    within_deadline(|| {
        for inside in [false, true] {
            let pool = Arc::new(ThreadPool::with_threads(2));
            let spins = || {
                pool.spawn_async(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                }))
            };
            let tasks = [spins(), spins(), spins()];
            if inside {
                let theirs = Arc::clone(&pool);
                pool.spawn(move || theirs.shutdown(Shutdown::CancelPending))
                    .join()
                    .unwrap();
            } else {
                pool.shutdown(Shutdown::CancelPending);
            }
            for task in tasks {
                let result = task.join();
                assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
            }
        }
    });
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a bomb");
        }
    }
}

#[test]
fn bombs_in_an_imap_and_in_futures() {
    within_deadline(|| {
        for ordered in [true, false] {
            let pool = ThreadPool::builder()
                .threads(2)
                .on_unobserved(|_| ())
                .build()
                .unwrap();
            // Items, results and the iterator explode when they are dropped unused.
            let bomb = Some(Bomb);
            let items = (0..100).map(move |i| {
                let _ = &bomb;
                (i, (i > 2).then(|| Bomb))
            });
            let work = |(i, bomb): (i32, Option<Bomb>)| {
                std::mem::forget(bomb);
                (i, Bomb)
            };
            let mut it = if ordered {
                pool.imap(items, work)
            } else {
                pool.imap_unordered(items, work)
            };
            let (_, first) = it.next().unwrap();
            std::mem::forget(first);
            let _ = catch_unwind(AssertUnwindSafe(|| drop(it)));
            // In a poll, in the destructor, in both.
            for (poll, end) in [(true, false), (false, true), (true, true)] {
                let bomb = end.then(|| Bomb);
                let task = pool.spawn_async(async move {
                    let _bomb = bomb;
                    assert!(!poll, "in the poll");
                });
                assert!(matches!(task.join(), Err(TaskError::Panicked(_))));
            }
            let bomb = Bomb;
            let task = pool.spawn_async(async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            });
            assert!(task.cancel());
            assert!(matches!(task.join(), Err(TaskError::Cancelled)));
            let bomb = Bomb;
            let sleeps = pool.spawn_async(async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            });
            assert_eq!(pool.broadcast(|i| i), [0, 1]);
            pool.shutdown(Shutdown::Wait);
            assert!(matches!(sleeps.join(), Err(TaskError::Closed)));
        }
    });
}

#[test]
fn a_stream_that_is_polled_once_and_dropped() {
    use futures_core::Stream;
    use std::pin::Pin;
    use std::task::Context;

    within_deadline(|| {
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let live = Arc::new(AtomicUsize::new(0));
        let pool = ThreadPool::builder()
            .threads(1)
            .name("polled")
            .build()
            .unwrap();
        let (feed, fed) = mpsc::channel::<usize>();
        for ordered in [true, false] {
            for polls in [0, 1, 3] {
                let count = live.clone();
                let items = (0_usize..).map(move |i| {
                    count.fetch_add(1, Ordering::SeqCst);
                    (i, Count(Arc::clone(&count)))
                });
                let work = |(i, count): (usize, Count)| (i, count);
                let it = if ordered {
                    pool.imap(items, work)
                } else {
                    pool.imap_unordered(items, work)
                };
                let mut stream = it.buffer(3).stream();
                for _ in 0..polls {
                    let _ =
                        Pin::new(&mut stream).poll_next(&mut Context::from_waker(Waker::noop()));
                }
                drop(stream);
            }
        }
        eventually("all is dropped", || live.load(Ordering::SeqCst) == 0);
        // Finished results are returned although the iterator blocks for ever.
        let mut it = pool.imap(fed, |i| i * 2);
        feed.send(1).unwrap();
        feed.send(2).unwrap();
        assert_eq!((it.next(), it.next()), (Some(2), Some(4)));
        let mut stream = it.stream();
        let poll = Pin::new(&mut stream).poll_next(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        pool.shutdown(Shutdown::Wait);
        feed.send(3).unwrap();
        assert_eq!(
            trefoil::run(poll_fn(move |cx| Pin::new(&mut stream).poll_next(cx))),
            Some(6)
        );
    });
}

#[test]
fn workers_that_wait_for_each_other_while_others_broadcast_and_resize() {
    within_deadline(|| {
        let pool = Arc::new(ThreadPool::with_threads(2));
        let others = Arc::new(ThreadPool::with_threads(1));
        let stop = Arc::new(AtomicBool::new(false));
        let noise = {
            let (pool, stop) = (Arc::clone(&pool), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    pool.resize(1);
                    pool.broadcast(|_| ());
                    pool.resize(3);
                    pool.broadcast(|_| ());
                }
            })
        };
        let ring: Vec<_> = (0..100)
            .map(|i| {
                let (a, b) = (Arc::clone(&pool), Arc::clone(&others));
                pool.spawn(move || {
                    let (c, d) = (Arc::clone(&a), Arc::clone(&b));
                    b.spawn(move || {
                        let e = Arc::clone(&d);
                        c.spawn_async(async move { e.spawn_async(async move { i }).await })
                            .join()
                            .unwrap()
                    })
                    .join()
                    .unwrap()
                    .unwrap()
                        + a.broadcast(|_| 0).into_iter().sum::<usize>()
                })
            })
            .collect();
        for (i, task) in ring.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), i);
        }
        stop.store(true, Ordering::Relaxed);
        noise.join().unwrap();
    });
}

#[test]
fn stacks_of_any_size() {
    within_deadline(|| {
        for size in [
            0,
            1,
            4095,
            64 << 10,
            usize::MAX >> 14,
            usize::MAX / 2,
            usize::MAX - 1,
            usize::MAX,
        ] {
            for helps in [true, false] {
                let built = ThreadPool::builder()
                    .threads(1)
                    .stack_size(size)
                    .caller_helps(helps)
                    .build();
                match built {
                    Err(error) => assert!(size > usize::MAX >> 24, "{size}: {error}"),
                    Ok(pool) => {
                        let inner = pool.spawn(|| trefoil::spawn_blocking(|| 1).join().unwrap());
                        assert_eq!(inner.join().unwrap(), 1);
                        assert_eq!(pool.imap(0..3, |i| i).sum::<i32>(), 3);
                    }
                }
            }
        }
        for name in [
            "",
            "a name that is much longer than what a kernel keeps",
            "ünï",
        ] {
            let pool = ThreadPool::builder().threads(1).name(name).build().unwrap();
            assert_eq!(
                pool.install(|| thread::current().name().map(str::to_owned))
                    .unwrap(),
                format!("{name}-0")
            );
        }
    });
}

/// The destructors of an ending thread may wait for the code that starts the next thread.
#[test]
fn threads_come_while_the_thread_locals_of_others_are_being_dropped() {
    static LOCK: Mutex<()> = Mutex::new(());
    struct Locks(mpsc::Sender<()>);
    impl Drop for Locks {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            drop(LOCK.lock());
        }
    }
    thread_local! {
        static LEFT: RefCell<Option<Locks>> = const { RefCell::new(None) };
    }
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let (tell, told) = mpsc::channel();
        pool.broadcast(|index| {
            if index == 1 {
                LEFT.set(Some(Locks(tell.clone())));
            }
        });
        let held = LOCK.lock().unwrap();
        pool.resize(1);
        told.recv().unwrap();
        // Its thread is in that destructor; now another thread takes its place.
        pool.resize(2);
        assert_eq!(pool.broadcast(|index| index), [0, 1]);
        drop(held);
    });
}

/// A lock is held across a wait, and all running tasks want it: the task that the wait needs was
/// queued last.
#[test]
fn what_is_queued_last_runs_where_all_others_want_a_lock() {
    within_deadline(|| {
        let one = || ThreadPool::builder().threads(1).caller_helps(false).build();
        let (here, other) = (one().unwrap(), one().unwrap());
        let (lock, begun) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let (give, given) = mpsc::channel::<Task<usize>>();
        let (tell, told) = mpsc::channel();
        let of_holder = Arc::clone(&lock);
        let holder = here.spawn(move || {
            let _held = of_holder.lock().unwrap();
            tell.send(()).unwrap();
            let last = given.recv().unwrap();
            other.spawn(|| last.join()).join().unwrap().unwrap()
        });
        told.recv().unwrap();
        let others = (0..2_000).map(|_| {
            let (lock, begun) = (Arc::clone(&lock), Arc::clone(&begun));
            here.spawn(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                drop(lock.lock().unwrap());
            })
        });
        let others: Vec<_> = others.collect();
        let count = Arc::clone(&begun);
        let last = here.spawn(move || count.load(Ordering::SeqCst));
        give.send(last).unwrap();
        // One spare, unless threads are slow. In the order of the queue it would be one for each 33
        // tasks.
        assert!(holder.join().unwrap() < 20);
        for other in others {
            other.join().unwrap();
        }
    });
}
