//! What does a call into a worker process cost? Two workers.

use std::hint::black_box;
use std::time::Instant;

use trefoil::ProcessPool;
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
}
