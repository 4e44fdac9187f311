//! `map` as the plots show it: by the length of an item, and by the number of workers.
//!
//! All items are equal, and an item is a chain of multiplications of known length, so that on one
//! thread a row takes what its name says. More workers than processors gain nothing; what they cost
//! is shown.

use std::hint::black_box;

use orx_parallel::{Par, Parallelizable};
use rayon::prelude::*;
use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};
use trefoil_benches::work::{chain, links_per_us};

use crate::peers;

/// The same `map` with every contender.
fn measured(
    bench: &Bench,
    (ours, rayon, workers): (&ThreadPool, &rayon::ThreadPool, usize),
    items: &[u64],
) -> Measured {
    let work = |links: &u64| chain(1, *links);
    let n = items.len() as u64;
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            drop(black_box(ours.map(black_box(items), work)));
        }),
        Entry::whole(Kind::Peer, "rayon", n, || {
            let map = || black_box(items).par_iter().map(work).collect::<Vec<_>>();
            drop(black_box(rayon.install(map)));
        }),
        Entry::whole(Kind::Peer, "orx-parallel", n, || {
            let map = black_box(items).par().num_threads(workers).map(work);
            drop(black_box(map.collect::<Vec<_>>()));
        }),
        Entry::whole(Kind::Sequential, "sequential", n, || {
            let map = black_box(items).iter().map(work);
            drop(black_box(map.collect::<Vec<_>>()));
        }),
    ];
    bench.measure(bench.rounds(), entries)
}

/// From which length on does a pool pay? Five milliseconds of work for each length.
pub fn gain(bench: &mut Bench) {
    let pools = (peers::trefoil(2), peers::rayon(2), 2);
    let all = bench.pick(1e4, 1e6, 5e6);
    for (name, ns) in [
        ("10 ns", 1e1),
        ("100 ns", 1e2),
        ("1 µs", 1e3),
        ("10 µs", 1e4),
        ("100 µs", 1e5),
        ("1 ms", 1e6),
    ] {
        let links = (ns * links_per_us() / 1e3).round().max(1.0) as u64;
        let n = (all / ns).max(4.0) as usize;
        let measured = measured(bench, pools, &vec![links; n]);
        let name = format!("`map` of {n} items of {name}, 2 workers, each");
        let row = Row::new(name, Unit::Ns, &[Goal::Ahead]).detail(true);
        bench.report(row.on("gain-map", ns), &measured);
    }
}

/// A hundredth of a second of work, by more and more workers.
pub fn scaling(bench: &mut Bench) {
    let n = bench.pick(10, 2_000, 10_000);
    let items = vec![links_per_us() as u64; n];
    for workers in [1, 2, 4, 8] {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let measured = measured(bench, (&ours, &rayon, workers), &items);
        let name = format!("`map` of {n} items of 1 µs, workers: {workers}, each");
        let row = Row::new(name, Unit::Ns, &[Goal::Ahead]).detail(true);
        bench.report(row, &measured);
    }
}
