//! A pool ends, although others go on queueing work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::deadline::{eventually, sample, within_deadline};
use crate::with_all_processors_and_with_one;
use trefoil::sync::channel;
use trefoil::{Shutdown, TaskError, ThreadPool, yield_now};

/// Uses a pool from outside as long as the second argument is true; each task takes as long as the
/// third says.
type Noise = fn(&ThreadPool, &(dyn Fn() -> bool + Sync), Duration);

fn compute(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

const NOISES: [(&str, Noise); 10] = [
    (
        "tasks of a scope that are joined, and others",
        |pool, on, time| {
            pool.scope(|s| {
                while on() {
                    s.spawn(move || compute(time)).join().unwrap();
                    s.spawn(move || compute(time)).join().unwrap();
                    s.spawn(|| ());
                }
            });
        },
    ),
    ("tasks of a scope, without end", |pool, on, time| {
        let waiting = AtomicUsize::new(0);
        pool.scope(|s| {
            while on() {
                if waiting.load(Ordering::Relaxed) > 1000 {
                    std::thread::yield_now();
                    continue;
                }
                waiting.fetch_add(1, Ordering::Relaxed);
                s.spawn_detached(|| {
                    compute(time);
                    waiting.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
    }),
    ("scopes", |pool, on, time| {
        while on() {
            pool.scope(|s| (0..10).for_each(|_| s.spawn_detached(move || compute(time))));
        }
    }),
    ("maps", |pool, on, time| {
        while on() {
            pool.for_each(0..100, |_| compute(time));
        }
    }),
    ("joins", |pool, on, time| {
        while on() {
            pool.join(|| compute(time), || compute(time));
        }
    }),
    ("installs", |pool, on, time| {
        while on() {
            pool.install(|| compute(time));
        }
    }),
    ("broadcasts", |pool, on, time| {
        while on() {
            pool.broadcast(|_| compute(time));
        }
    }),
    ("imaps", |pool, on, time| {
        while on() {
            pool.imap(0..10, move |_| compute(time)).for_each(drop);
        }
    }),
    ("an endless imap", |pool, on, time| {
        let endless = pool.imap(0_u64.., move |_| compute(time));
        endless.take_while(|()| on()).for_each(drop);
    }),
    ("tasks", |pool, on, time| {
        while on() {
            let _ended = pool.spawn(move || compute(time)).join();
            let _ended = pool.spawn_async(async move { compute(time) }).join();
        }
    }),
];

/// Ends a pool of so many threads while an outside thread makes this noise.
fn end_beside(noise: Noise, threads: usize, time: Duration, how: Shutdown) {
    let pool = ThreadPool::with_threads(threads);
    let (rounds, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| {
            let on = || {
                rounds.fetch_add(1, Ordering::Relaxed);
                !ended.load(Ordering::Relaxed)
            };
            noise(&pool, &on, time);
        });
        eventually("it has begun", || rounds.load(Ordering::Relaxed) > 3);
        pool.shutdown(how);
        ended.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_pool_ends_beside_an_outside_thread_that_goes_on() {
    with_all_processors_and_with_one(|| {
        for round in 0..sample(8) {
            for (_name, noise) in NOISES {
                let time = Duration::from_micros([0, 1, 20, 200][round % 4]);
                for threads in [1, 2, 4] {
                    within_deadline(move || {
                        end_beside(noise, threads, time, Shutdown::Wait);
                        end_beside(noise, threads, time, Shutdown::CancelPending);
                    });
                }
            }
        }
    });
}

/// Drops the last handle of a pool while a thread from outside runs a task of it, which it waits
/// for. False: a worker has begun the task before, because some thread of the process waits.
fn drop_beside_a_helping_thread(threads: usize) -> bool {
    let pool = ThreadPool::with_threads(threads);
    let busy = |_| {
        let (open, gate) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let busy = move || {
            begin.send(()).unwrap();
            gate.recv().unwrap();
        };
        pool.spawn(busy).detach();
        begun.recv().unwrap();
        open
    };
    let gates: Vec<_> = (0..threads).map(busy).collect();
    let (begin, begun) = mpsc::channel();
    let ended = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&ended);
    let task = pool.spawn(move || {
        let outside = std::thread::current().name().is_none();
        begin.send(outside).unwrap();
        trefoil::scope(|s| {
            while outside && !theirs.load(Ordering::Relaxed) {
                s.spawn(|| ()).join().unwrap();
                s.spawn(|| ());
            }
        });
    });
    let outside = std::thread::spawn(move || task.join().unwrap());
    let helps = begun.recv().unwrap();
    gates.iter().for_each(|gate| gate.send(()).unwrap());
    drop(pool);
    ended.store(true, Ordering::Relaxed);
    outside.join().unwrap();
    helps
}

#[test]
fn the_last_handle_is_dropped_beside_an_outside_thread_that_goes_on() {
    within_deadline(|| {
        for threads in [1, 2] {
            while !drop_beside_a_helping_thread(threads) {}
        }
    });
}

/// An outside thread may wait for a task of its scope as no pool can see. The pool has accepted it.
#[test]
fn what_an_outside_scope_has_queued_before_is_done() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(1);
        let ((open, gate), (begin, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        pool.spawn(move || {
            begin.send(()).unwrap();
            gate.recv().unwrap();
        })
        .detach();
        begun.recv().unwrap();
        let (queue, queued) = mpsc::channel();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                pool.scope(|s| {
                    let (tell, told) = mpsc::channel();
                    for _ in 0..100 {
                        let tell = tell.clone();
                        s.spawn_detached(move || tell.send(()).unwrap());
                    }
                    queue.send(()).unwrap();
                    (0..100).for_each(|_| told.recv().unwrap());
                });
            });
            queued.recv().unwrap();
            threads.spawn(|| pool.shutdown(Shutdown::Wait));
            let is_closed = || matches!(pool.spawn(|| ()).join(), Err(TaskError::Closed));
            eventually("the pool is closing", is_closed);
            open.send(()).unwrap();
        });
    });
}

/// A scope goes on after the end of its pool, on its own thread, and takes no more memory.
#[test]
fn an_outside_scope_goes_on_without_its_pool() {
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let ran = AtomicUsize::new(0);
        pool.scope(|s| {
            s.spawn(|| ()).join().unwrap();
            pool.shutdown(Shutdown::Wait);
            for _ in 0..10_000 {
                s.spawn(|| ran.fetch_add(1, Ordering::Relaxed))
                    .join()
                    .unwrap();
            }
            s.spawn(|| s.spawn(|| ran.fetch_add(1, Ordering::Relaxed)));
        });
        assert_eq!(ran.into_inner(), 10_001);
    });
}

// ---- futures ----------------------------------------------------------------

/// Two futures, one of which is always awake, because the other has sent to it.
fn talk(pool: &ThreadPool, goes_on: fn(u32) -> bool) -> [trefoil::Task<()>; 2] {
    let ((left, from_left), (right, from_right)) =
        (channel::bounded::<u32>(1), channel::bounded::<u32>(1));
    let first = pool.spawn_async(async move {
        let mut n = 0;
        while goes_on(n) && right.send(n).await.is_ok() {
            match from_left.recv().await {
                Ok(answer) => n = answer + 1,
                Err(_) => return,
            }
        }
    });
    let second = pool.spawn_async(async move {
        while let Ok(n) = from_right.recv().await {
            if left.send(n).await.is_err() {
                return;
            }
        }
    });
    [first, second]
}

fn wake_itself(pool: &ThreadPool, goes_on: fn(u32) -> bool) -> trefoil::Task<()> {
    pool.spawn_async(async move {
        let mut n = 0;
        while goes_on(n) {
            yield_now().await;
            n += 1;
        }
    })
}

/// As with a task that always spawns a successor, the end of which waits in vain.
#[test]
fn futures_that_are_always_awake_are_cancelled() {
    within_deadline(|| {
        for threads in [1, 2] {
            let pool = ThreadPool::with_threads(threads);
            let mut tasks = vec![wake_itself(&pool, |_| true), wake_itself(&pool, |_| true)];
            tasks.extend(talk(&pool, |_| true));
            pool.shutdown(Shutdown::CancelPending);
            for task in tasks {
                let ended = task.join();
                assert!(
                    matches!(ended, Err(TaskError::Cancelled) | Ok(())),
                    "{ended:?}"
                );
            }
        }
    });
}

#[test]
fn futures_that_are_awake_are_finished() {
    within_deadline(|| {
        for threads in [1, 2] {
            let pool = ThreadPool::with_threads(threads);
            let awake = wake_itself(&pool, |n| n < 1000);
            let [first, second] = talk(&pool, |n| n < 1000);
            pool.shutdown(Shutdown::Wait);
            for task in [awake, first, second] {
                task.join().unwrap();
            }
        }
    });
}
