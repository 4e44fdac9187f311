//! Whoever waits gets on beside work that renews itself for ever.
//!
//! A plain `cargo test` runs a sample of the matrix; `.ci/long noise`, all of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::deadline::within_deadline;
use futures::executor::block_on;
use trefoil::sync::{Event, channel};
use trefoil::{CancelToken, Shutdown, TaskGroup, ThreadPool, yield_now};

/// Set when the noise is to end.
type End = Arc<AtomicBool>;

fn goes_on(end: &End) -> bool {
    !end.load(Ordering::Relaxed)
}

/// Begins to make noise. The thread that it returns goes on by itself until the end.
type Noise = fn(&ThreadPool, &End) -> Option<JoinHandle<()>>;

/// A thread that calls `f` again and again.
fn outside(
    pool: &ThreadPool,
    end: &End,
    f: impl Fn(&ThreadPool) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let (pool, end) = (pool.clone(), Arc::clone(end));
    Some(std::thread::spawn(move || {
        while goes_on(&end) {
            f(&pool);
        }
    }))
}

fn successor(pool: ThreadPool, end: End) {
    let next = pool.clone();
    let again = move || {
        if goes_on(&end) {
            successor(next, end);
        }
    };
    pool.spawn(again).detach();
}

fn next_broadcast(pool: ThreadPool, end: End) {
    let (next, turn) = (pool.clone(), AtomicBool::new(false));
    let again = move |_| {
        if goes_on(&end) && !turn.swap(true, Ordering::Relaxed) {
            next_broadcast(next.clone(), Arc::clone(&end));
        }
    };
    pool.spawn_broadcast(again).detach();
}

fn next_call(pool: ThreadPool, end: End) {
    let next = pool.clone();
    let again = move || {
        if goes_on(&end) {
            next_call(next, end);
        }
    };
    pool.install(|| trefoil::spawn_blocking(again)).detach();
}

/// The noises, and whether they renew themselves on the pool's own threads.
const NOISES: [(&str, bool, Noise); 10] = [
    ("futures that wake themselves", true, |pool, end| {
        for _ in 0..2 {
            let end = Arc::clone(end);
            let future = async move {
                while goes_on(&end) {
                    yield_now().await;
                }
            };
            pool.spawn_async(future).detach();
        }
        None
    }),
    ("two futures that talk", true, |pool, end| {
        let ((left, from_left), (right, from_right)) =
            (channel::bounded::<()>(1), channel::bounded::<()>(1));
        let end = Arc::clone(end);
        let first = async move {
            while goes_on(&end) && right.send(()).await.is_ok() {
                if from_left.recv().await.is_err() {
                    return;
                }
            }
        };
        let second =
            async move { while from_right.recv().await.is_ok() && left.send(()).await.is_ok() {} };
        pool.spawn_async(first).detach();
        pool.spawn_async(second).detach();
        None
    }),
    ("tasks that spawn their successors", true, |pool, end| {
        (0..8).for_each(|_| successor(pool.clone(), Arc::clone(end)));
        None
    }),
    ("broadcasts that begin the next", true, |pool, end| {
        next_broadcast(pool.clone(), Arc::clone(end));
        None
    }),
    ("blocking calls that begin the next", true, |pool, end| {
        (0..4).for_each(|_| next_call(pool.clone(), Arc::clone(end)));
        None
    }),
    ("tasks from outside", false, |pool, end| {
        outside(pool, end, |pool| {
            let mut task = pool.spawn(|| ());
            if !matches!(task.try_join(), Some(Err(_))) {
                task.detach(); // (The pool has not ended.)
            }
            while pool.stats().queued > 1000 {
                std::thread::yield_now();
            }
        })
    }),
    ("tasks of a scope", false, |pool, end| {
        let (pool, end) = (pool.clone(), Arc::clone(end));
        Some(std::thread::spawn(move || {
            pool.scope(|s| {
                while goes_on(&end) {
                    s.spawn(|| ()).join().unwrap();
                    s.spawn(|| ()).join().unwrap();
                }
            });
        }))
    }),
    ("scopes", false, |pool, end| {
        outside(pool, end, |pool| {
            pool.scope(|s| (0..10).for_each(|_| s.spawn_detached(|| ())));
        })
    }),
    ("maps", false, |pool, end| {
        outside(pool, end, |pool| {
            pool.for_each(0..1000, |n| _ = std::hint::black_box(n));
        })
    }),
    ("joins of the pool's own", false, |pool, end| {
        outside(pool, end, |pool| {
            pool.install(|| _ = trefoil::join(|| (), || ()));
        })
    }),
];

/// Something that a thread from outside does with the pool, and waits for.
type Wait = fn(&ThreadPool);

const WAITS: [(&str, Wait); 22] = [
    ("install", |pool| pool.install(|| ())),
    ("std's channel, a closure", |pool| {
        let (tell, told) = mpsc::channel();
        pool.spawn(move || tell.send(()).unwrap()).detach();
        told.recv().unwrap();
    }),
    ("std's channel, a future", |pool| {
        let (tell, told) = mpsc::channel();
        let future = async move { tell.send(()).unwrap() };
        pool.spawn_async(future).detach();
        told.recv().unwrap();
    }),
    ("join of a future", |pool| {
        pool.spawn_async(async {}).join().unwrap();
    }),
    ("join", |pool| pool.spawn(|| ()).join().unwrap()),
    ("join_timeout", |pool| {
        pool.spawn(|| ()).join_timeout(Duration::MAX).unwrap();
    }),
    ("await", |pool| block_on(pool.spawn(|| ())).unwrap()),
    ("a future that is woken", |pool| {
        let (send, receive) = channel::bounded::<()>(1);
        let task = pool.spawn_async(async move { receive.recv().await.unwrap() });
        send.send_blocking(()).unwrap();
        task.join().unwrap();
    }),
    ("a future that is cancelled", |pool| {
        struct Tell(mpsc::Sender<()>);
        impl Drop for Tell {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let (tell, told) = mpsc::channel();
        let tell = Tell(tell);
        let task = pool.spawn_async(async move {
            let _tell = tell;
            std::future::pending::<()>().await;
        });
        task.cancel();
        told.recv().unwrap();
    }),
    ("broadcast", |pool| _ = pool.broadcast(|_| ())),
    ("spawn_broadcast", |pool| {
        _ = pool.spawn_broadcast(|_| ()).join().unwrap();
    }),
    ("spawn_blocking", |pool| {
        let call = pool.install(|| trefoil::spawn_blocking(|| ()));
        call.join().unwrap();
    }),
    ("imap", |pool| pool.imap(0..100, |n| n).for_each(|n| _ = n)),
    ("imap_unordered", |pool| {
        pool.imap_unordered(0..100, |n| n).for_each(|n| _ = n);
    }),
    ("for_each", |pool| pool.for_each(0..1000, |n| _ = n)),
    ("a map, awaited", |pool| {
        _ = block_on(pool.map_task(0..1000, |n| n)).unwrap();
    }),
    ("pool.join", |pool| _ = pool.join(|| (), || ())),
    ("scope", |pool| {
        pool.scope(|s| (0..10).for_each(|_| s.spawn_detached(|| ())));
    }),
    ("resize", |pool| {
        pool.resize(1);
        assert_eq!(pool.broadcast(|_| ()).len(), 1);
        pool.resize(2);
        assert_eq!(pool.broadcast(|_| ()).len(), 2);
    }),
    ("a group", |pool| {
        let mut group = TaskGroup::new();
        (0..10).for_each(|_| _ = group.add(pool.spawn(|| ())));
        group.try_join_all().join().unwrap();
    }),
    ("until", |pool| {
        let token = CancelToken::new();
        pool.until(&token).for_each(0..1000, |n| _ = n).unwrap();
    }),
    ("the end of another pool", |_| {
        let other = ThreadPool::with_threads(2);
        other.spawn(|| ()).detach();
    }),
];

/// Ways to wait, as no pool can see, for what this thread queues in its own pool: `queue` is called
/// once, with what another thread is to call.
type Foreign = fn(queue: &mut dyn FnMut(Box<dyn FnOnce() + Send>));

const FOREIGN: [(&str, Foreign); 6] = [
    ("a channel", |queue| {
        let (tell, told) = mpsc::channel();
        queue(Box::new(move || tell.send(()).unwrap()));
        told.recv().unwrap();
    }),
    ("a condition variable", |queue| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&pair);
        queue(Box::new(move || {
            *theirs.0.lock().unwrap() = true;
            theirs.1.notify_all();
        }));
        let done = pair.0.lock().unwrap();
        drop(pair.1.wait_while(done, |done| !*done).unwrap());
    }),
    ("park", |queue| {
        let (me, done) = (std::thread::current(), Arc::new(AtomicBool::new(false)));
        let theirs = Arc::clone(&done);
        queue(Box::new(move || {
            theirs.store(true, Ordering::SeqCst);
            me.unpark();
        }));
        while !done.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }),
    ("a thread", |queue| {
        let (tell, told) = mpsc::channel();
        queue(Box::new(move || tell.send(()).unwrap()));
        std::thread::spawn(move || told.recv().unwrap())
            .join()
            .unwrap();
    }),
    ("another crate's block_on", |queue| {
        let (tell, told) = futures::channel::oneshot::channel();
        queue(Box::new(move || tell.send(()).unwrap()));
        block_on(told).unwrap();
    }),
    ("sleep", |queue| {
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        queue(Box::new(move || theirs.store(true, Ordering::SeqCst)));
        while !done.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }),
];

/// Calls `f` with a pool of two beside this noise.
fn beside(noise: Noise, f: impl FnOnce(&ThreadPool)) {
    let (pool, end) = (ThreadPool::with_threads(2), End::default());
    let thread = noise(&pool, &end);
    f(&pool);
    end.store(true, Ordering::Relaxed);
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
}

/// So many tasks that wait for others of their pool, while this thread waits for all of them.
fn stuck(pool: &ThreadPool, tasks: usize, wait: Foreign) {
    let (left, all) = (Arc::new(AtomicUsize::new(tasks)), Arc::new(Event::new()));
    for task in 0..tasks {
        let (again, left, all) = (pool.clone(), Arc::clone(&left), Arc::clone(&all));
        let stuck = move || {
            wait(&mut |call| match task % 2 {
                0 => again.spawn(call).detach(),
                _ => again.spawn_async(async { call() }).detach(),
            });
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                all.set();
            }
        };
        pool.spawn(stuck).detach();
    }
    all.wait_blocking();
}

/// What of the matrix is run: all, or each seventh.
fn is_due(number: usize) -> bool {
    std::env::var_os("TREFOIL_FULL").is_some() || number.is_multiple_of(7)
}

/// Says what was run, if that took long, for whoever looks into the matrix.
fn timed(noise: &str, wait: &str, f: impl FnOnce()) {
    let begin = Instant::now();
    f();
    if begin.elapsed() > Duration::from_secs(1) {
        println!("{noise}, {wait}: {:.1?}", begin.elapsed());
    }
}

#[test]
fn who_waits_outside_gets_on_beside_noise() {
    for (n, (noise, _, make)) in NOISES.into_iter().enumerate() {
        within_deadline(move || {
            for (w, (name, wait)) in WAITS.into_iter().enumerate() {
                if is_due(n * WAITS.len() + w) {
                    timed(noise, name, || {
                        beside(make, |pool| (0..3).for_each(|_| wait(pool)));
                    });
                }
            }
        });
    }
}

/// Noise of the pool's own keeps a pool that waits for it, but not one that cancels.
#[test]
fn a_pool_ends_beside_noise() {
    for (_noise, own, make) in NOISES {
        within_deadline(move || {
            beside(make, |pool| pool.shutdown(Shutdown::CancelPending));
            if !own {
                beside(make, |pool| pool.shutdown(Shutdown::Wait));
            }
        });
    }
}

#[test]
fn many_stuck_tasks_are_begun_beside_a_future_that_wakes_itself() {
    within_deadline(|| beside(NOISES[0].2, |pool| stuck(pool, 20, FOREIGN[0].1)));
}

#[test]
fn stuck_tasks_are_begun_beside_noise() {
    let tasks = match std::env::var_os("TREFOIL_FULL") {
        Some(_) => 20,
        None => 5,
    };
    for (n, (noise, _, make)) in NOISES.into_iter().enumerate() {
        for (w, (name, wait)) in FOREIGN.into_iter().enumerate() {
            if is_due(n * FOREIGN.len() + w) {
                within_deadline(move || {
                    timed(noise, name, || {
                        beside(make, |pool| stuck(pool, tasks, wait));
                    });
                });
            }
        }
    }
}

/// What the documentation of the pool promises: some 16 seconds, if the machine is not busy.
#[test]
fn a_hundred_stuck_tasks_are_begun_beside_noise() {
    if std::env::var_os("TREFOIL_FULL").is_some() {
        for (noise, _, make) in NOISES {
            within_deadline(move || {
                timed(noise, "a hundred", || {
                    beside(make, |pool| stuck(pool, 100, FOREIGN[0].1));
                });
            });
        }
    }
}
