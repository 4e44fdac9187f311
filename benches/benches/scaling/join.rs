//! `join`: trees with leaves of two lengths, and fib, which is nothing but joins.

use std::hint::black_box;

use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Kind, Unit};
use trefoil_benches::work::{self, chain, links_per_us};

use crate::peers::{self, on_chili, on_rayon, on_trefoil};
use crate::{row, widths};

fn on_ours(depth: u32, links: u64) {
    if depth == 0 {
        black_box(chain(1, links));
    } else {
        trefoil::join(|| on_ours(depth - 1, links), || on_ours(depth - 1, links));
    }
}

fn on_rayons(depth: u32, links: u64) {
    if depth == 0 {
        black_box(chain(1, links));
    } else {
        rayon::join(
            || on_rayons(depth - 1, links),
            || on_rayons(depth - 1, links),
        );
    }
}

fn on_chilis(scope: &mut chili::Scope<'_>, depth: u32, links: u64) {
    if depth == 0 {
        black_box(chain(1, links));
    } else {
        scope.join(
            |s| on_chilis(s, depth - 1, links),
            |s| on_chilis(s, depth - 1, links),
        );
    }
}

pub fn trees(bench: &mut Bench) {
    for (name, depth, ns) in [
        ("join, leaves of 1 µs", 13, 1e3),
        ("join, leaves of 50 ns", 16, 50.0),
    ] {
        let depth = bench.pick(3, depth - 1, depth);
        let links = (ns * links_per_us() / 1e3).round() as u64;
        for workers in widths(bench) {
            let ours = ThreadPool::with_threads(workers);
            let rayon = peers::new_rayon(workers);
            let chili = peers::new_chili(workers);
            let entries = vec![
                Entry::whole(Kind::Ours, "trefoil", 1, || {
                    ours.install(|| on_ours(depth, links));
                }),
                Entry::whole(Kind::Peer, "rayon", 1, || {
                    rayon.install(|| on_rayons(depth, links));
                }),
                Entry::whole(Kind::Peer, "chili", 1, || {
                    on_chilis(&mut chili.scope(), depth, links);
                }),
                Entry::whole(Kind::Sequential, "sequential", 1, || {
                    (0..1 << depth).for_each(|_: u64| _ = black_box(chain(1, links)));
                }),
            ];
            let measured = bench.measure(bench.pick(1, 5, 25), entries);
            bench.report(row(name, workers, Unit::Us), &measured);
        }
    }
}

pub fn fib(bench: &mut Bench) {
    let depth = bench.pick(12, 28, 30);
    let expected = work::fib(depth);
    for workers in widths(bench) {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let chili = peers::new_chili(workers);
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", 1, || {
                let fib = || on_trefoil::fib((), black_box(depth));
                assert_eq!(ours.install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "rayon", 1, || {
                let fib = || on_rayon::fib((), black_box(depth));
                assert_eq!(rayon.install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "chili", 1, || {
                let scope = &mut chili.scope();
                assert_eq!(on_chili::fib(scope, black_box(depth)), expected);
            }),
            Entry::whole(Kind::Sequential, "sequential", 1, || {
                assert_eq!(work::fib(black_box(depth)), expected);
            }),
        ];
        let measured = bench.measure(bench.pick(1, 5, 25), entries);
        bench.report(row(&format!("fib({depth})"), workers, Unit::Us), &measured);
    }
}
