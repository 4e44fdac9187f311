//! Maps of one pool at the same time: they share its threads, and take turns where callers do not
//! help.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use deadline::within_deadline;
use trefoil::ThreadPool;

#[test]
fn maps_take_turns_where_callers_do_not_help() {
    within_deadline(|| {
        let pool = ThreadPool::builder().threads(1).caller_helps(false).build();
        let pool = pool.unwrap();
        let over = Arc::new(AtomicUsize::new(0));
        // Each goes on until both have begun, and the other may have ended by then.
        let maps: Vec<_> = (0..3)
            .map(|_| {
                let (pool, over) = (pool.clone(), over.clone());
                thread::spawn(move || {
                    let first = AtomicBool::new(true);
                    pool.try_map(0..u32::MAX, |_| {
                        if first.swap(false, Ordering::SeqCst) {
                            over.fetch_add(1, Ordering::SeqCst);
                        }
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(20) {}
                        match over.load(Ordering::SeqCst) {
                            3 => Err(()),
                            _ => Ok(()),
                        }
                    })
                })
            })
            .collect();
        for map in maps {
            assert_eq!(map.join().unwrap(), Err(()));
        }
    });
}

#[test]
fn a_map_that_gives_way_may_hold_a_lock_that_the_other_needs() {
    within_deadline(|| {
        let pool = ThreadPool::builder().threads(1).caller_helps(false).build();
        let pool = pool.unwrap();
        let (lock, holds, asks) = (
            Mutex::new(()),
            AtomicBool::new(false),
            AtomicBool::new(false),
        );
        thread::scope(|threads| {
            threads.spawn(|| {
                let holder = || {
                    let _held = lock.lock().unwrap();
                    holds.store(true, Ordering::SeqCst);
                    // Goes on until the other is stuck, in the place of this thread.
                    let ended = pool.try_map(0..u32::MAX, |_| {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(20) {}
                        if asks.load(Ordering::SeqCst) {
                            Err(())
                        } else {
                            Ok(())
                        }
                    });
                    assert_eq!(ended, Err(()));
                };
                pool.install(holder);
            });
            while !holds.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            pool.install(|| {
                asks.store(true, Ordering::SeqCst);
                drop(lock.lock().unwrap());
            });
        });
    });
}

#[test]
fn two_maps_of_one_pool_get_on_at_comparable_rates() {
    const ITEMS: usize = 20_000;
    within_deadline(|| {
        let pool = ThreadPool::with_threads(2);
        let counts = [const { AtomicUsize::new(0) }; 2];
        let start = Barrier::new(2);
        let when_one_ended: Vec<[usize; 2]> = thread::scope(|threads| {
            let maps = [0, 1].map(|mine: usize| {
                let (pool, counts, start) = (&pool, &counts, &start);
                threads.spawn(move || {
                    start.wait();
                    pool.for_each(0..ITEMS, |_| {
                        let begin = Instant::now();
                        while begin.elapsed() < Duration::from_micros(20) {}
                        counts[mine].fetch_add(1, Ordering::Relaxed);
                    });
                    [0, 1].map(|map: usize| counts[map].load(Ordering::Relaxed))
                })
            });
            maps.map(|map| map.join().unwrap()).into()
        });
        let slower = when_one_ended.iter().flatten().min().unwrap();
        assert!(*slower > ITEMS / 8, "{when_one_ended:?}");
    });
}
