//! The thread pool beside programs that mean it no good: long work after tiny work, widths that change
//! under it, and waits wherever one can wait. What is computed is compared with the sequential answer.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

mod deadline;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use deadline::within_deadline;
use trefoil::{Shutdown, ThreadPool};

/// A tree of joins of nothing.
fn tiny(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let (a, b) = trefoil::join(|| tiny(depth - 1), || tiny(depth - 1));
    a + b
}

/// How many were inside at once.
#[derive(Default)]
struct Crowd(Mutex<(usize, usize)>);

impl Crowd {
    /// Long, compared with what it takes to wake somebody.
    fn stay(&self) {
        let mut crowd = self.0.lock().unwrap();
        crowd.0 += 1;
        crowd.1 = crowd.1.max(crowd.0);
        drop(crowd);
        std::thread::sleep(Duration::from_millis(300));
        self.0.lock().unwrap().0 -= 1;
    }

    fn largest(self) -> usize {
        self.0.into_inner().unwrap().1
    }
}

fn halves(depth: u32, crowd: &Crowd) {
    if depth == 0 {
        return crowd.stay();
    }
    trefoil::join(|| halves(depth - 1, crowd), || halves(depth - 1, crowd));
}

fn chain(left: usize, crowd: &Crowd) {
    if left == 1 {
        return crowd.stay();
    }
    trefoil::join(|| chain(left - 1, crowd), || crowd.stay());
}

#[test]
fn long_halves_after_tiny_ones_run_at_once() {
    within_deadline(|| {
        for tree in 0..3 {
            let pool = ThreadPool::with_threads(8);
            let crowd = Crowd::default();
            pool.install(|| {
                for _ in 0..16 {
                    assert_eq!(tiny(16), 1 << 16);
                }
                match tree {
                    0 => halves(3, &crowd),
                    1 => chain(8, &crowd),
                    _ => pool.for_each(0..8, |_| crowd.stay()),
                }
            });
            assert_eq!(crowd.largest(), 8, "{tree}");
        }
    });
}

#[test]
fn a_pool_ends_while_a_guest_is_inside_a_half() {
    within_deadline(|| {
        for (width, guests) in [(1, 1), (1, 2), (2, 2), (3, 2)] {
            let pool = ThreadPool::with_threads(width);
            std::thread::scope(|threads| {
                let (tell, told) = mpsc::channel();
                let ends: Vec<_> = (0..guests)
                    .map(|_| {
                        let (end, ended) = mpsc::channel::<()>();
                        let (pool, tell) = (&pool, tell.clone());
                        threads.spawn(move || {
                            pool.join(
                                move || {
                                    tell.send(()).unwrap();
                                    ended.recv().unwrap();
                                },
                                || (),
                            )
                        });
                        end
                    })
                    .collect();
                told.iter().take(guests).for_each(drop);
                pool.shutdown(Shutdown::Wait);
                for end in ends {
                    end.send(()).unwrap();
                }
            });
        }
    });
}

#[test]
fn joins_wake_others_after_the_pool_has_shrunk_and_grown_under_tiny_ones() {
    within_deadline(|| {
        for _ in 0..4 {
            let pool = ThreadPool::with_threads(3);
            let done = AtomicBool::new(false);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    pool.install(|| {
                        while !done.load(Ordering::Relaxed) {
                            tiny(10);
                        }
                    });
                });
                let end = Instant::now() + Duration::from_millis(1500);
                while Instant::now() < end {
                    pool.resize(1);
                    pool.resize(3);
                    std::thread::sleep(Duration::from_micros(700));
                }
                done.store(true, Ordering::Relaxed);
            });
            // Nobody is in a hurry any more: all sleep.
            std::thread::sleep(Duration::from_millis(100));
            let crowd = Crowd::default();
            pool.install(|| trefoil::join(|| crowd.stay(), || crowd.stay()));
            assert_eq!(crowd.largest(), 2);
        }
    });
}

#[test]
fn who_may_not_help_runs_no_half() {
    within_deadline(|| {
        let pool = ThreadPool::builder()
            .threads(1)
            .caller_helps(false)
            .build()
            .unwrap();
        let outside = std::thread::current().id();
        let seen = AtomicUsize::new(0);
        let check = || {
            seen.fetch_add(
                usize::from(std::thread::current().id() == outside),
                Ordering::Relaxed,
            );
        };
        pool.scope(|_| {
            for _ in 0..200_000 {
                trefoil::join(check, check);
            }
        });
        assert_eq!(seen.into_inner(), 0);
        drop(Arc::new(pool));
    });
}
