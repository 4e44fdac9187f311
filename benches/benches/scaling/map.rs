//! `map` of four shapes: tiny items, few long ones, uneven ones, and two halves for a sleeping
//! pool.

use std::hint::black_box;
use std::time::{Duration, Instant};

use orx_parallel::{Par, Parallelizable};
use rayon::prelude::*;
use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Kind, Unit};
use trefoil_benches::work::{chain, links_per_us};

use crate::{peers, row, widths};

/// After so long, every pool sleeps.
const IDLE: Duration = Duration::from_millis(2);

/// One map with every contender, in a closure each.
struct Ways<'a, T, F> {
    items: &'a [T],
    item: F,
    workers: usize,
    ours: ThreadPool,
    rayon: rayon::ThreadPool,
}

/// A contender: its kind, its name, and what it does.
type Way<'a> = (Kind, &'static str, Box<dyn Fn() + 'a>);

impl<'a, T: Sync, F: Fn(&T) -> u64 + Sync + Send + Copy> Ways<'a, T, F> {
    fn new(items: &'a [T], item: F, workers: usize) -> Self {
        Self {
            items,
            item,
            workers,
            ours: ThreadPool::with_threads(workers),
            rayon: peers::new_rayon(workers),
        }
    }

    fn ours(&self) {
        drop(black_box(self.ours.map(black_box(self.items), self.item)));
    }

    fn rayon(&self) {
        let map = || black_box(self.items).par_iter().map(self.item);
        drop(black_box(self.rayon.install(|| map().collect::<Vec<_>>())));
    }

    fn orx(&self) {
        let map = black_box(self.items).par().num_threads(self.workers);
        drop(black_box(map.map(self.item).collect::<Vec<_>>()));
    }

    /// As many equal parts as workers, a thread each; the caller takes the first.
    fn scope(&self) {
        let items = black_box(self.items);
        let part = items.len().div_ceil(self.workers);
        let mut all = vec![0; items.len()];
        let fill = |(out, items): (&mut [u64], &[T])| {
            for (out, item) in out.iter_mut().zip(items) {
                *out = (self.item)(item);
            }
        };
        std::thread::scope(|s| {
            let mut parts = all.chunks_mut(part).zip(items.chunks(part));
            let first = parts.next();
            for part in parts {
                s.spawn(move || fill(part));
            }
            first.into_iter().for_each(fill);
        });
        drop(black_box(all));
    }

    fn sequential(&self) {
        let map = black_box(self.items).iter().map(self.item);
        drop(black_box(map.collect::<Vec<_>>()));
    }

    fn all(&self) -> [Way<'_>; 5] {
        [
            (Kind::Ours, "trefoil", Box::new(|| self.ours())),
            (Kind::Peer, "rayon", Box::new(|| self.rayon())),
            (Kind::Peer, "orx-parallel", Box::new(|| self.orx())),
            (
                Kind::Peer,
                "std::thread::scope, equal parts",
                Box::new(|| self.scope()),
            ),
            (
                Kind::Sequential,
                "sequential",
                Box::new(|| self.sequential()),
            ),
        ]
    }
}

fn one_shape<T: Sync>(
    bench: &mut Bench,
    name: &str,
    items: &[T],
    item: impl Fn(&T) -> u64 + Sync + Send + Copy,
) {
    for workers in widths(bench) {
        let ways = Ways::new(items, item, workers);
        let entries = ways.all();
        let entries = entries.into_iter();
        let entries = entries.map(|(kind, name, way)| Entry::whole(kind, name, 1, way));
        let measured = bench.measure(bench.pick(1, 5, 21), entries.collect());
        bench.report(row(name, workers, Unit::Us), &measured);
    }
}

pub fn shapes(bench: &mut Bench) {
    let us = links_per_us();
    let work = |links: &u64| chain(1, *links);

    let name = "`map` of 10^6 items of 5 ns";
    let items: Vec<u64> = (0..bench.pick(1_000, 1_000_000, 1_000_000)).collect();
    one_shape(bench, name, &items, |x| {
        (0..4).fold(*x, |x: u64, _| {
            (x ^ x.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    });

    let name = "`map` of 256 items of 20 µs";
    let items = vec![(20.0 * us) as u64; bench.pick(8, 256, 256)];
    one_shape(bench, name, &items, work);

    let name = "`map` of 1,000 items of 0 to 20 µs, rising";
    let n = bench.pick(8, 1_000, 1_000);
    let rising = |i| (20.0 * (i + 1) as f64 / n as f64 * us) as u64;
    let items: Vec<u64> = (0..n).map(rising).collect();
    one_shape(bench, name, &items, work);

    // From 20 µs to 1 ms, and only the last few dear.
    let at = |i| (i as f64 / (n - 1) as f64).powi(16);
    let steep = |i| (20.0 * f64::powf(50.0, at(i)) * us) as u64;
    let items: Vec<u64> = (0..n).map(steep).collect();
    let name = "`map` of 1,000 items of 20 µs to 1 ms, dearest last";
    one_shape(bench, name, &items, work);
}

/// Two items of 200 µs, when nobody has used the pool for two milliseconds.
pub fn after_idle(bench: &mut Bench) {
    let often = bench.pick(1, 3, 7);
    let items = vec![(200.0 * links_per_us()) as u64; 2];
    for workers in widths(bench) {
        let ways = Ways::new(&items, |links: &u64| chain(1, *links), workers);
        let entries = ways.all();
        let entries = entries.into_iter().map(|(kind, name, way)| {
            Entry::samples(kind, name, move |samples| {
                for _ in 0..often {
                    std::thread::sleep(IDLE);
                    let start = Instant::now();
                    way();
                    samples.push(start.elapsed().as_nanos() as f64);
                }
            })
        });
        let measured = bench.measure(bench.pick(1, 3, 9), entries.collect());
        let name = "`map` of two items of 200 µs, after 2 ms of idleness";
        bench.report(row(name, workers, Unit::Us), &measured);
    }
}
