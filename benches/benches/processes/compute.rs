//! Work that only computes: how near are two workers to twice as fast?

use std::hint::black_box;
use std::time::Instant;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers;
use crate::python;

fn is_prime(n: u64) -> bool {
    n > 1
        && (2..)
            .take_while(|i| i * i <= n)
            .all(|i| !n.is_multiple_of(i))
}

pub fn count((from, to): (u64, u64)) -> u64 {
    (from..to).filter(|n| is_prime(*n)).count() as u64
}

/// The time of `together` by that of `alone`, measured in turn.
fn ratio(together: impl FnOnce() -> u64, alone: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    let first = black_box(together());
    let (together, start) = (start.elapsed(), Instant::now());
    assert_eq!(first, black_box(alone()));
    together.as_secs_f64() / start.elapsed().as_secs_f64()
}

pub fn primes(bench: &mut Bench) {
    let below: u64 = bench.pick(1_000, 400_000, 1_000_000);
    let ranges = (0..below)
        .step_by(below as usize / 64)
        .map(move |from| (from, from + below / 64));
    let ranges: Vec<(u64, u64)> = ranges.collect();
    let alone = || ranges.iter().map(|range| count(*range)).sum();
    let mut entries = vec![
        Entry::samples(Kind::Ours, "trefoil", |samples| {
            let procs = peers::trefoil();
            let together = || {
                procs
                    .map(ranges.iter().copied(), count)
                    .expect("they answer")
            };
            samples.push(ratio(|| together().into_iter().sum(), alone));
        }),
        Entry::samples(Kind::Peer, "procspawn", |samples| {
            let pool = peers::procspawn();
            let together = || {
                let calls: Vec<_> = ranges
                    .iter()
                    .map(|range| pool.spawn(*range, count))
                    .collect();
                calls
                    .into_iter()
                    .map(|call| call.join().expect("it answers"))
                    .sum()
            };
            samples.push(ratio(together, alone));
        }),
        Entry::samples(Kind::Sequential, "sequential", |samples| samples.push(1.0)),
    ];
    let small = bench.pick(100, 20_000, 60_000);
    entries.extend(
        python::all(bench)
            .into_iter()
            .map(|python| python.entry("compute", small)),
    );
    let measured = bench.measure(bench.few_rounds(), entries);
    let goals = &[Goal::Speedup(1.98)];
    let row = "primes, two workers: time by that of one (Python by Python's)";
    bench.report(Row::new(row, Unit::Count, goals), &measured);
}
