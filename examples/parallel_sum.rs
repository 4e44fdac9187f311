//! Three ways to add numbers on all processors: divide and conquer with `join`,
//! `map_reduce` over a range, and tasks in a scope that fill slots of their own.
//!
//! Run with `cargo run --release --example parallel_sum`.

use std::time::Instant;

/// Sums a slice by halving it until a piece is small.
fn sum(numbers: &[u64]) -> u64 {
    if numbers.len() <= 10_000 {
        return numbers.iter().map(|&n| work(n)).sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    // The right half is offered to idle workers; both halves borrow the slice.
    let (left, right) = trefoil::join(|| sum(left), || sum(right));
    left + right
}

/// A little arithmetic, enough to be worth sharing.
fn work(n: u64) -> u64 {
    (0..200).fold(n, |x, i| x.rotate_left(5) ^ i) & 0xFF
}

fn main() {
    let numbers: Vec<u64> = (0..100_000).collect();

    let start = Instant::now();
    let expected: u64 = numbers.iter().map(|&n| work(n)).sum();
    println!("one thread   {expected} in {:?}", start.elapsed());

    let start = Instant::now();
    let joined = sum(&numbers);
    println!("join         {joined} in {:?}", start.elapsed());

    let pool = trefoil::ThreadPool::global();
    let start = Instant::now();
    let reduced = pool.map_reduce(0..100_000_u64, work, || 0, |a, b| a + b);
    println!("map_reduce   {reduced} in {:?}", start.elapsed());

    let start = Instant::now();
    let mut parts = [0; 8];
    trefoil::scope(|s| {
        for (part, chunk) in parts.iter_mut().zip(numbers.chunks(numbers.len() / 8)) {
            s.spawn(move || *part = chunk.iter().map(|&n| work(n)).sum());
        }
    });
    let scoped: u64 = parts.iter().sum();
    println!("scope        {scoped} in {:?}", start.elapsed());

    assert!([joined, reduced, scoped].iter().all(|&sum| sum == expected));
}
