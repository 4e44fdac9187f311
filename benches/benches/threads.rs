//! What do the pool's operations cost? Beside rayon, both with two threads.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use trefoil::ThreadPool;
use trefoil_benches::{Contender, compare};

fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn fib(pool: Option<&ThreadPool>, n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = match pool {
        Some(pool) => pool.join(|| fib(Some(pool), n - 1), || fib(Some(pool), n - 2)),
        None => rayon::join(|| fib(None, n - 1), || fib(None, n - 2)),
    };
    a + b
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test" || arg == "--quick");
    let rounds = if quick { 3 } else { 15 };
    let pool = ThreadPool::with_threads(2);
    let rayon = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .unwrap();

    let depth = if quick { 12 } else { 25 };
    // fib(n) makes fib(n + 1) - 1 joins.
    let joins = (0..=depth).fold((0u64, 1u64), |(a, b), _| (b, a + b)).0;
    compare(
        "join, in fib",
        joins,
        rounds,
        &mut [
            Contender::new("trefoil", |_| {
                black_box(pool.install(|| fib(Some(&pool), depth)));
            }),
            Contender::new("rayon", |_| {
                black_box(rayon.install(|| fib(None, depth)));
            }),
        ],
    );

    compare(
        "spawn + join from outside, one by one",
        if quick { 1_000 } else { 50_000 },
        rounds,
        &mut [
            Contender::new("trefoil", |n| {
                for i in 0..n {
                    black_box(pool.spawn(move || i).join().unwrap());
                }
            }),
            Contender::new("rayon and a oneshot", |n| {
                for i in 0..n {
                    let (sender, receiver) = std::sync::mpsc::channel();
                    rayon.spawn(move || sender.send(i).unwrap());
                    black_box(receiver.recv().unwrap());
                }
            }),
        ],
    );

    let items = if quick { 10_000 } else { 10_000_000 };
    let numbers: Vec<u64> = (0..items).collect();
    compare(
        "map of tiny items, each",
        items,
        rounds,
        &mut [
            Contender::new("trefoil", |_| {
                black_box(pool.map(&numbers, |n| n + 1));
            }),
            Contender::new("rayon", |_| {
                black_box(rayon.install(|| numbers.par_iter().map(|n| n + 1).collect::<Vec<_>>()));
            }),
            Contender::new("a plain loop", |_| {
                black_box(numbers.iter().map(|n| n + 1).collect::<Vec<_>>());
            }),
        ],
    );

    let below = if quick { 10_000 } else { 1_000_000 };
    let times = compare(
        "primes below 1,000,000 by trial division, each number",
        u64::from(below),
        rounds,
        &mut [
            Contender::new("trefoil", |_| {
                black_box(pool.map_reduce(
                    0..below,
                    |n| u64::from(is_prime(n)),
                    || 0,
                    |a, b| a + b,
                ));
            }),
            Contender::new("rayon", |_| {
                black_box(rayon.install(|| {
                    (0..below)
                        .into_par_iter()
                        .map(|n| u64::from(is_prime(n)))
                        .sum::<u64>()
                }));
            }),
            Contender::new("a plain loop", |_| {
                black_box((0..below).filter(|n| is_prime(*n)).count());
            }),
        ],
    );
    println!(
        "  speed-up over the loop: trefoil {:.2}, rayon {:.2}",
        times[2] / times[0],
        times[2] / times[1]
    );

    // What the machine gives two threads that share nothing, for comparison.
    let work =
        || (0..200_000_000u64).fold(1u64, |x, i| black_box(x.wrapping_mul(31).wrapping_add(i)));
    let start = Instant::now();
    black_box(work());
    let one = start.elapsed();
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| black_box(work()));
        scope.spawn(|| black_box(work()));
    });
    println!(
        "  the machine's own: {:.2}",
        2.0 * one.as_secs_f64() / start.elapsed().as_secs_f64()
    );
}
