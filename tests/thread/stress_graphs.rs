//! Random graphs of work over several pools at once, whose results are compared with those of a
//! sequential program.
//!
//! `TREFOIL_STRESS=seconds` sets how long it runs (one second if it is not set, two with
//! `TREFOIL_FULL`), `TREFOIL_SEED=number` the seed, which is printed if something fails. A round
//! that takes too long counts as a hang.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stderr
)] // a program, not the crate

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::deadline::sample;
use trefoil::{Completer, Shutdown, ThreadPool};

/// How long one round may take.
const LIMIT: u64 = 120;

fn mix(seed: u64, i: u64) -> u64 {
    let x = (seed ^ i.wrapping_mul(0xD6E8_FEB8_6659_FD93)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^ (x >> 32)
}

type Pools = Arc<Vec<ThreadPool>>;

/// The result of a node, which depends on its seed alone. A leaf does some work.
fn answer(seed: u64, depth: u32) -> u64 {
    if depth == 0 {
        return (0..seed % 64).fold(seed, mix) & 0xFFFF;
    }
    let children = match seed % KINDS {
        3 | 5 => 4,
        _ => 2,
    };
    let depth = if children == 4 { depth / 2 } else { depth - 1 };
    (0..children)
        .map(|i| answer(mix(seed, i), depth))
        .fold(seed & 0xFF, u64::wrapping_add)
}

const KINDS: u64 = 12;

/// The same on the pools.
fn grow(pools: &Pools, lock: &Arc<Mutex<u64>>, seed: u64, depth: u32) -> u64 {
    if depth == 0 {
        return answer(seed, 0);
    }
    let pool = &pools[(mix(seed, 99) % pools.len() as u64) as usize];
    let d = depth - 1;
    let node = |i: u64| grow(pools, lock, mix(seed, i), d);
    let owned = |i: u64| {
        let (pools, lock) = (Arc::clone(pools), Arc::clone(lock));
        move || grow(&pools, &lock, mix(seed, i), d)
    };
    let sum = match seed % KINDS {
        0 => {
            let (a, b) = trefoil::join(|| node(0), || node(1));
            a.wrapping_add(b)
        }
        1 => {
            let (a, b) = pool.join(|| node(0), || node(1));
            a.wrapping_add(b)
        }
        2 => trefoil::scope(|s| {
            let a = s.spawn(|| node(0));
            let b = node(1);
            a.join().unwrap().wrapping_add(b)
        }),
        3 => {
            let half = depth / 2;
            let parts = pool.map(0..4, |i| grow(pools, lock, mix(seed, i), half));
            parts.into_iter().fold(0, u64::wrapping_add)
        }
        4 => {
            let a = pool.spawn(owned(0));
            let b = node(1);
            a.join().unwrap().wrapping_add(b)
        }
        5 => {
            let half = depth / 2;
            let part = |i| grow(pools, lock, mix(seed, i), half);
            pool.map_reduce(0..4, part, || 0, u64::wrapping_add)
        }
        6 => {
            // A promise that another task completes.
            let (completer, promise) = Completer::new();
            let work = owned(0);
            pool.spawn(move || completer.complete(Ok(work()))).detach();
            let b = node(1);
            promise.join().unwrap().wrapping_add(b)
        }
        7 => {
            // Both halves of a join in this pool.
            let (a, b) = pool.install(|| trefoil::join(|| node(0), || node(1)));
            a.wrapping_add(b)
        }
        8 => {
            let a = trefoil::spawn_blocking(owned(0));
            let b = pool.blocking(|| node(1));
            a.join().unwrap().wrapping_add(b)
        }
        9 => {
            // All workers are called; one of them counts.
            let seen = pool.broadcast(|index| index);
            assert!(!seen.is_empty() && seen.iter().enumerate().all(|(i, &index)| i == index));
            pool.scope(|s| {
                let (a, b) = (s.spawn(|| node(0)), s.spawn(|| node(1)));
                let b = b.join().unwrap();
                a.join().unwrap().wrapping_add(b)
            })
        }
        10 => {
            pool.resize(1 + (mix(seed, 7) % 5) as usize);
            let (a, b) = pool.join(|| node(0), || node(1));
            a.wrapping_add(b)
        }
        _ => {
            // A lock is held across a wait. Only leaves take it, and they take no other.
            let (a, b) = (node(0), node(1));
            let mut held = lock.lock().unwrap();
            let (c, e) = trefoil::join(|| answer(seed, 0), || answer(mix(seed, 5), 0));
            *held = held.wrapping_add(c ^ e);
            a.wrapping_add(b)
        }
    };
    sum.wrapping_add(seed & 0xFF)
}

#[test]
fn random_graphs_over_several_pools() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("TREFOIL_STRESS").unwrap_or(sample(2) as u64);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let first = number("TREFOIL_SEED").unwrap_or(now.unwrap().as_nanos() as u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    // A watchdog: each round must advance its count.
    let (rounds, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (watched, ended) = (Arc::clone(&rounds), Arc::clone(&over));
    let watchdog = std::thread::spawn(move || {
        let mut seen = (0, Instant::now());
        while !ended.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_secs(1));
            let now = watched.load(Ordering::Relaxed);
            if now != seen.0 {
                seen = (now, Instant::now());
            } else if seen.1.elapsed() > Duration::from_secs(LIMIT) {
                eprintln!("round {now} of TREFOIL_SEED={first} hangs");
                std::process::abort();
            }
        }
    });
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        let seed = mix(first, round);
        let pools: Vec<ThreadPool> = (0..1 + seed % 3)
            .map(|i| {
                let threads = 1 + (mix(seed, i + 50) % 4) as usize;
                let helps = !mix(seed, i + 60).is_multiple_of(3);
                let builder = ThreadPool::builder().threads(threads).caller_helps(helps);
                builder.build().unwrap()
            })
            .collect();
        let pools = Arc::new(pools);
        let lock = Arc::new(Mutex::new(0));
        // Several outside threads begin at once, some of them inside of a pool.
        std::thread::scope(|s| {
            for i in 0..3 {
                let (pools, lock) = (&pools, &lock);
                s.spawn(move || {
                    let (seed, depth) = (mix(seed, 100 + i), 6 + (seed % 3) as u32);
                    let grown = match i {
                        0 => grow(pools, lock, seed, depth),
                        _ => pools[0].install(|| grow(pools, lock, seed, depth)),
                    };
                    let expected = answer(seed, depth);
                    assert_eq!(grown, expected, "round {round} of TREFOIL_SEED={first}");
                });
            }
        });
        for pool in pools.iter().skip(1) {
            pool.shutdown(if seed.is_multiple_of(2) {
                Shutdown::Wait
            } else {
                Shutdown::CancelPending
            });
        }
        drop(pools);
        round += 1;
        rounds.store(round, Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    watchdog.thread().unpark();
    watchdog.join().unwrap();
    eprintln!("{round} rounds");
}
