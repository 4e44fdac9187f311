//! Sorting, each time the same items anew; the copy is not measured.

use std::hint::black_box;
use std::time::Instant;

use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Kind, Unit};

use crate::{peers, row, widths};

/// Numbers without an order.
fn mixed(n: usize) -> Vec<u64> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ (z >> 27)
    };
    (0..n).map(|_| next()).collect()
}

fn timed<T: Clone + Ord>(items: &[T], samples: &mut Vec<f64>, sort: impl FnOnce(&mut Vec<T>)) {
    let mut items = black_box(items).to_vec();
    let start = Instant::now();
    sort(&mut items);
    samples.push(start.elapsed().as_nanos() as f64);
    assert!(items.is_sorted());
}

macro_rules! sort {
    ($bench:ident, $name:expr, $rounds:expr, $items:expr, $par:ident, $seq:ident) => {
        let items = $items;
        for workers in widths($bench) {
            let ours = ThreadPool::with_threads(workers);
            let rayon = peers::new_rayon(workers);
            let entries = vec![
                Entry::samples(Kind::Ours, "trefoil", |samples| {
                    use trefoil::prelude::*;
                    timed(&items, samples, |items| ours.install(|| items.$par()));
                }),
                Entry::samples(Kind::Peer, "rayon", |samples| {
                    use rayon::prelude::*;
                    timed(&items, samples, |items| rayon.install(|| items.$par()));
                }),
                Entry::samples(Kind::Sequential, "sequential", |samples| {
                    timed(&items, samples, |items| items.$seq());
                }),
            ];
            let measured = $bench.measure($rounds, entries);
            $bench.report(row($name, workers, Unit::Ms), &measured);
        }
    };
}

pub fn sorts(bench: &mut Bench) {
    let n = bench.pick(1_000, 1_000_000, 10_000_000);
    let name = "`par_sort_unstable` of 10^7 integers";
    let rounds = bench.pick(1, 2, 3);
    sort!(
        bench,
        name,
        rounds,
        mixed(n),
        par_sort_unstable,
        sort_unstable
    );

    let n = bench.pick(1_000, 100_000, 300_000);
    let texts: Vec<String> = mixed(n).iter().map(u64::to_string).collect();
    let name = "`par_sort` of 300,000 strings";
    sort!(bench, name, bench.pick(1, 3, 5), &texts, par_sort, sort);
}
