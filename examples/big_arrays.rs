//! Large arrays in other processes, without encoding them number by number, or at all.
//!
//! ```text
//! cargo run --release --example big_arrays
//! ```
//!
//! A `Bulk` is sent at the speed of a memory copy; a `Shared` is mapped by each process and not
//! copied; the numbers of a `SharedAtomics` are the same memory in all processes.

use std::sync::atomic::{AtomicU64, Ordering};

use trefoil::{Bulk, ProcessPool, Shared, SharedAtomics};

/// Reverses a copy: two million numbers are sent, and two million come back.
fn reversed(mut samples: Bulk<f64>) -> Bulk<f64> {
    samples.reverse();
    samples
}

/// Sums a part of the shared array, and counts in memory that all processes share.
fn count((table, digits): &(Shared<u32>, SharedAtomics<AtomicU64>), part: usize) -> u64 {
    let part = &table[part * PART..][..PART];
    for number in part {
        digits[*number as usize % 10].fetch_add(1, Ordering::Relaxed);
    }
    part.iter().map(|number| u64::from(*number)).sum()
}

const PARTS: usize = 16;
const PART: usize = 250_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let procs = ProcessPool::with_workers(2)?;

    // An argument that only this call needs.
    let samples: Vec<f64> = (0..2_000_000).map(f64::from).collect();
    let back = procs.spawn(Bulk::from(samples), reversed).join()?;
    println!("{} numbers came back, {} first", back.len(), back[0]);

    // What many calls read: sixteen megabytes, made once, sealed, and sent as a descriptor.
    let table: Shared<u32> = (0..(PARTS * PART) as u32)
        .map(|n| n.wrapping_mul(n))
        .collect();
    let digits = SharedAtomics::<AtomicU64>::new(10)?;
    let sums = procs.map_with(&(table.clone(), digits.clone()), 0..PARTS, count)?;

    let known: u64 = table.iter().map(|number| u64::from(*number)).sum();
    assert_eq!(sums.iter().sum::<u64>(), known);
    println!("sum of {} numbers: {known}", table.len());

    // The workers have counted here, in our memory as in theirs.
    let digits: Vec<u64> = digits.iter().map(|n| n.load(Ordering::Relaxed)).collect();
    println!("their last digits: {digits:?}");
    assert_eq!(digits.iter().sum::<u64>(), table.len() as u64);
    Ok(())
}
