//! The factorial of 100,000, four times: in a row, with threads and with processes.
//!
//! In Python the threads would take turns; here both take as long as the processors need. The
//! processes have more to do: 190 kB of result travel back for each call.
//!
//! ```text
//! cargo run --release --example factorials
//! ```

use std::time::Instant;

use num_bigint::BigUint;
use trefoil::{ProcessPool, TaskError, ThreadPool};

const N: u32 = 100_000;

/// The product of the numbers from `first` to `last`, by halves: large numbers are
/// multiplied with large ones, which is what fast multiplication is good at.
fn product(first: u32, last: u32) -> BigUint {
    if last - first < 16 {
        return (first..=last).map(BigUint::from).product();
    }
    let middle = first.midpoint(last);
    product(first, middle) * product(middle + 1, last)
}

/// A plain function of one argument, which threads and processes can both call.
fn factorial(n: u32) -> BigUint {
    product(1, n)
}

fn timed<T>(how: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{how:<10} {:.2} s", start.elapsed().as_secs_f64());
    result
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init(); // worker processes begin, and end, in this line
    let pool = ThreadPool::with_threads(4);
    let procs = ProcessPool::with_workers(4)?;

    let alone = timed("in a row", || [N; 4].map(factorial));
    let threads = timed("threads", || pool.map([N; 4], factorial));
    let processes: Result<_, TaskError> = timed("processes", || procs.map([N; 4], factorial));
    assert!(threads == alone && processes? == alone);

    // A check that needs no factorial (Legendre's formula): how often 2 and 5 divide it.
    let power = |p: u32| {
        (1..)
            .map_while(|e| Some(N / p.checked_pow(e)?))
            .sum::<u32>()
    };
    assert_eq!(threads[0].trailing_zeros(), Some(u64::from(power(2))));
    assert_eq!(
        &threads[0] % BigUint::from(5_u32).pow(power(5)),
        BigUint::ZERO
    );
    println!(
        "twelve times the same number of {} bits,",
        threads[0].bits()
    );
    println!("which ends in {} decimal zeros", power(5).min(power(2)));
    Ok(())
}
