//! All primes below 100,000 with one `pool.map`.
//!
//! ```text
//! cargo run --release --example primes
//! ```

use std::time::Instant;

use trefoil::ThreadPool;

const BELOW: u32 = 100_000;

/// Trial division, which is slow on purpose.
fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn main() {
    let start = Instant::now();
    let alone: Vec<bool> = (0..BELOW).map(is_prime).collect();
    println!("one thread: {:.1?}", start.elapsed());

    // No thread before this line. One result for each number, in the order of the numbers;
    // the pool finds out by itself how many of them make a portion.
    let pool = ThreadPool::new();
    let start = Instant::now();
    let prime = pool.map(0..BELOW, is_prime);
    println!("{} threads: {:.1?}", pool.num_threads(), start.elapsed());

    assert_eq!(prime, alone);
    let primes: Vec<u32> = (0..BELOW).filter(|n| prime[*n as usize]).collect();
    println!("{} primes below {BELOW}", primes.len());
    println!(
        "from {:?} to {:?}",
        &primes[..5],
        &primes[primes.len() - 2..]
    );
}
