//! `join` where it is difficult: long halves after tiny ones, while the width changes, in a pool
//! that ends, from a caller that may not help, far down.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use deadline::{eventually, rounds, sample, within_deadline};
use trefoil::{Shutdown, ThreadPool};

/// A tree of joins of nothing.
fn tiny(depth: u32) -> u64 {
    if depth == 0 {
        return 1;
    }
    let (a, b) = trefoil::join(|| tiny(depth - 1), || tiny(depth - 1));
    a + b
}

/// Counts how many threads are in the same place at once.
#[derive(Default)]
struct Crowd {
    here: Mutex<(usize, usize)>,
    came: Condvar,
}

impl Crowd {
    /// Waits until there are `all`, or for far longer than waking a thread takes.
    fn stay(&self, all: usize) {
        let mut here = self.here.lock().unwrap();
        here.0 += 1;
        here.1 = here.1.max(here.0);
        self.came.notify_all();
        let alone = |here: &mut (usize, usize)| here.1 < all;
        let limit = Duration::from_secs(10);
        let (mut here, _) = self.came.wait_timeout_while(here, limit, alone).unwrap();
        here.0 -= 1;
    }

    fn largest(self) -> usize {
        self.here.into_inner().unwrap().1
    }
}

fn halves(depth: u32, crowd: &Crowd) {
    if depth == 0 {
        return crowd.stay(8);
    }
    trefoil::join(|| halves(depth - 1, crowd), || halves(depth - 1, crowd));
}

#[test]
fn long_halves_after_tiny_ones_run_at_once() {
    within_deadline(|| {
        for items in [false, true] {
            let pool = ThreadPool::with_threads(8);
            let crowd = Crowd::default();
            pool.install(|| {
                for _ in 0..16 {
                    assert_eq!(tiny(16), 1 << 16);
                }
                if items {
                    pool.for_each(0..8, |_| crowd.stay(8));
                } else {
                    halves(3, &crowd);
                }
            });
            assert_eq!(crowd.largest(), 8, "{items}");
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
        for _ in 0..sample(4) {
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
            eventually("all sleep", || format!("{pool:?}").contains("running: 0"));
            let crowd = Crowd::default();
            pool.install(|| trefoil::join(|| crowd.stay(2), || crowd.stay(2)));
            assert_eq!(crowd.largest(), 2);
        }
    });
}

#[test]
fn a_caller_that_may_not_help_runs_no_half() {
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
            for _ in rounds(sample(200_000)) {
                trefoil::join(check, check);
            }
        });
        assert_eq!(seen.into_inner(), 0);
    });
}

/// A small test for Miri: every way in and out of a join and a scope, stolen or not, with panics.
#[test]
fn a_little_of_everything() {
    if cfg!(miri) {
        return little_of_everything(); // a minute is not a hang there
    }
    within_deadline(little_of_everything);
}

fn little_of_everything() {
    let pool = ThreadPool::with_threads(2);
    let dropped = AtomicUsize::new(0);
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let node = |seed: u32| {
        let (left, right) = (Counted(&dropped), Counted(&dropped));
        catch_unwind(AssertUnwindSafe(|| {
            trefoil::join(
                move || {
                    let _left = left;
                    assert!(!seed.is_multiple_of(3), "left");
                    tiny(3)
                },
                move || {
                    let right = right;
                    assert!(!seed.is_multiple_of(5), "right");
                    (tiny(2), right)
                },
            )
        }))
        .map(|(left, (right, _))| left + right)
        .unwrap_or(u64::from(seed))
    };
    let right = |seed: u32| match (seed % 3, seed % 5) {
        (0, _) | (_, 0) => u64::from(seed),
        _ => 12,
    };
    let rounds = if cfg!(miri) { 6 } else { 500 };
    for seed in 0..rounds {
        assert_eq!(node(seed), right(seed));
        let here = pool.install(|| (node(seed), node(seed + 1)));
        assert_eq!(here, (right(seed), right(seed + 1)));
        let both = pool.join(|| node(seed), || node(seed + 2));
        assert_eq!(both, (right(seed), right(seed + 2)));
        let three = pool.scope(|s| {
            let one = s.spawn(|| node(seed));
            s.spawn(|| s.spawn(|| node(seed + 1)));
            one.join().unwrap()
        });
        assert_eq!(three, right(seed));
    }
    drop(pool);
    assert_eq!(dropped.into_inner() as u32, rounds * 7 * 2);
}

#[test]
fn second_halves_nest_as_cheaply_as_first_ones() {
    fn descend(depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let (one, rest) = trefoil::join(|| 1, || descend(depth - 1));
        one + rest
    }
    within_deadline(|| {
        for width in 1..4 {
            let pool = ThreadPool::builder()
                .threads(width)
                // Two threads that help each other in turn use three times as much stack in
                // unoptimised code.
                .stack_size(768 << 10)
                .build()
                .unwrap();
            for _ in 0..50 {
                assert_eq!(pool.install(|| descend(200)), 200);
            }
        }
    });
}
