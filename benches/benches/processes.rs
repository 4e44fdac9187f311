//! What does a call into a worker process cost? Two workers.

use std::hint::black_box;
use std::time::Instant;

use trefoil::{Bulk, ProcessPool, Shared};
use trefoil_benches::{Contender, compare, median};

fn main() {
    trefoil::init();
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let rounds = if quick { 3 } else { 11 };

    let starts = (0..if quick { 3 } else { 50 })
        .map(|_| {
            let start = Instant::now();
            let procs = ProcessPool::with_workers(2).unwrap();
            black_box(procs.spawn(1u64, |n: u64| n).join().unwrap());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    println!(
        "a pool of 2, until its first answer: {:.2} ms",
        median(starts)
    );

    let procs = ProcessPool::with_workers(2).unwrap();
    compare(
        "round trip of one call",
        if quick { 100 } else { 5_000 },
        rounds,
        &mut [Contender::new("trefoil", |n| {
            for i in 0..n {
                black_box(procs.spawn(i, |n: u64| n + 1).join().unwrap());
            }
        })],
    );
    compare(
        "separate calls, all at once, each",
        if quick { 1_000 } else { 50_000 },
        rounds,
        &mut [Contender::new("trefoil", |n| {
            let tasks: Vec<_> = (0..n).map(|i| procs.spawn(i, |n: u64| n + 1)).collect();
            black_box(trefoil::join_all(tasks).wait().len());
        })],
    );
    compare(
        "map of tiny items, each",
        if quick { 10_000 } else { 5_000_000 },
        rounds,
        &mut [Contender::new("trefoil", |n| {
            black_box(procs.map(0..n, |n: u64| n + 1).unwrap().len());
        })],
    );
    for size in [64 << 10, 1 << 20, 16 << 20] {
        large(
            &procs,
            size,
            if quick {
                3
            } else {
                (256 << 20) / size.max(1 << 20)
            },
            rounds,
        );
    }
}

/// `size` bytes in one argument or result, or both.
fn large(procs: &ProcessPool, size: usize, calls: usize, rounds: usize) {
    let numbers: Vec<f64> = (0..size / 8).map(|n| n as f64).collect();
    let shared = Shared::from(&numbers[..]);
    compare(
        &format!("{} KiB", size >> 10),
        calls as u64,
        rounds,
        &mut [
            Contender::new("Bulk there and back", |n| {
                let mut bulk = Bulk::from(&numbers[..]);
                for _ in 0..n {
                    bulk = procs.spawn(bulk, |bulk: Bulk<f64>| bulk).join().unwrap();
                }
                assert_eq!(bulk.len(), numbers.len());
            }),
            Contender::new("Bulk there", |n| {
                // As a caller would: it has made it just before.
                for _ in 0..n {
                    let bulk = Bulk::from(&numbers[..]);
                    black_box(procs.spawn(bulk, |bulk: Bulk<f64>| bulk[7]).join().unwrap());
                }
            }),
            Contender::new("Bulk back", |n| {
                for _ in 0..n {
                    let bulk = procs.spawn(size / 8, |len: usize| Bulk::from(vec![1.0; len]));
                    black_box(bulk.join().unwrap());
                }
            }),
            Contender::new("Vec there and back", |n| {
                let mut vec = numbers.clone();
                for _ in 0..n {
                    vec = procs.spawn(vec, |vec: Vec<f64>| vec).join().unwrap();
                }
                black_box(vec);
            }),
            Contender::new("Shared there, and looked at", |n| {
                for _ in 0..n {
                    let sum = procs.spawn(shared.clone(), |s: Shared<f64>| {
                        s.iter().step_by(512).sum::<f64>()
                    });
                    black_box(sum.join().unwrap());
                }
            }),
        ],
    );
}
