//! Part 1, CPU: how many primes are there below five million?
//!
//! Trial division, which is slow on purpose. The numbers are cut into five
//! hundred ranges; the same function counts the primes of a range, wherever it
//! runs. On threads `map` takes a closure, and could borrow anything. A worker
//! process gets a function that captures nothing, and its argument.

use super::Pools;
use super::report::{Report, thousands};
use std::error::Error;

const BELOW: u32 = 5_000_000;
const STEP: u32 = 10_000;

/// What the three rows must agree on.
const ANSWER: u64 = 348_513;

pub(crate) fn run(pools: &Pools, report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.part("1. CPU: primes below 5,000,000, by trial division");
    let ranges: Vec<(u32, u32)> = (0..BELOW)
        .step_by(STEP as usize)
        .map(|start| (start, start + STEP))
        .collect();
    let say = |count: &u64| format!("{} primes", thousands(*count));

    let alone = report.row(
        "one after another",
        ranges.len(),
        |bar| {
            Ok(bar
                .wrap_iter(ranges.iter())
                .map(|range| primes(*range))
                .sum())
        },
        say,
    )?;
    let threads = report.row(
        "threads.map",
        ranges.len(),
        |bar| {
            let counts = pools.threads.map(&ranges, |range| {
                bar.inc(1);
                primes(*range)
            });
            Ok(counts.into_iter().sum())
        },
        say,
    )?;
    let processes = report.row(
        "processes.map",
        0,
        |_| {
            Ok(pools
                .processes
                .map(ranges.clone(), primes)?
                .into_iter()
                .sum())
        },
        say,
    )?;
    report.check(
        "the same answer three times",
        [alone, threads, processes] == [ANSWER; 3],
    );
    Ok(())
}

/// The primes from `start` up to, not including, `end`.
fn primes((start, end): (u32, u32)) -> u64 {
    (start..end).filter(|number| is_prime(*number)).count() as u64
}

fn is_prime(number: u32) -> bool {
    if number < 4 {
        return number >= 2;
    }
    if number.is_multiple_of(2) {
        return false;
    }
    let mut divisor = 3;
    while divisor * divisor <= number {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 2;
    }
    true
}
