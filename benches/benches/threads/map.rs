//! `map` over many items: tiny, equal, skewed, uneven; and primes.

use std::hint::black_box;

use orx_parallel::{IntoParIter, Par, Parallelizable};
use rayon::prelude::*;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};
use trefoil_benches::work::{chain, is_prime, links_per_us};

use crate::peers;

fn fill<T, R>(out: &mut [R], items: &[T], item: impl Fn(&T) -> R) {
    for (out, each) in out.iter_mut().zip(items) {
        *out = item(each);
    }
}

/// One row: the same function over the same items with every contender. The result is a vector in
/// the order of the items.
fn row<T: Sync, R: Send + Sync + Clone + Default>(
    bench: &mut Bench,
    name: &str,
    goals: &'static [Goal],
    rounds: usize,
    items: &[T],
    item: impl Fn(&T) -> R + Send + Sync + Copy,
) {
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", 1, || {
            drop(black_box(peers::trefoil(2).map(black_box(items), item)));
        }),
        Entry::whole(Kind::Peer, "rayon", 1, || {
            let map = || black_box(items).par_iter().map(item).collect::<Vec<_>>();
            drop(black_box(peers::rayon(2).install(map)));
        }),
        Entry::whole(Kind::Peer, "orx-parallel", 1, || {
            let map = black_box(items).par().num_threads(2).map(item);
            drop(black_box(map.collect::<Vec<_>>()));
        }),
        Entry::whole(Kind::Peer, "std::thread::scope, halves", 1, || {
            let half = items.len() / 2;
            let (left, right) = black_box(items).split_at(half);
            let mut both = vec![R::default(); items.len()];
            let (out, other) = both.split_at_mut(half);
            std::thread::scope(|s| {
                s.spawn(|| fill(other, right, item));
                fill(out, left, item);
            });
            drop(black_box(both));
        }),
        Entry::whole(Kind::Sequential, "sequential", 1, || {
            drop(black_box(
                black_box(items).iter().map(item).collect::<Vec<_>>(),
            ));
        }),
    ];
    let measured = bench.measure(rounds, entries);
    bench.report(Row::new(name, Unit::Ms, goals), &measured);
}

/// A million items that cost next to nothing.
pub fn tiny(bench: &mut Bench) {
    let n = bench.pick(10_000, 1_000_000, 1_000_000);
    let rounds = bench.pick(1, 15, 51);
    let items: Vec<u32> = (0..n).collect();
    row(
        bench,
        "`map` of 10^6 items of ~0.2 ns",
        &[Goal::Speedup(1.0), Goal::Ahead],
        rounds,
        &items,
        |x| x.wrapping_mul(3) ^ 0x55,
    );
    let items: Vec<u64> = items.into_iter().map(u64::from).collect();
    row(
        bench,
        "`map` of 10^6 items of some ns",
        &[Goal::Speedup(1.9), Goal::Ahead],
        rounds,
        &items,
        some_ns,
    );
}

/// More results than an allocator keeps memory for: each map fills fresh pages.
pub fn large(bench: &mut Bench) {
    let n = bench.pick(10_000, 10_000_000, 10_000_000);
    let rounds = bench.pick(1, 3, 9);
    let items: Vec<u64> = (0..n).collect();
    let goals = &[Goal::Speedup(1.9), Goal::Ahead];
    row(
        bench,
        "`map` of 10^7 items of some ns",
        goals,
        rounds,
        &items,
        some_ns,
    );
}

fn some_ns(x: &u64) -> u64 {
    (0..4).fold(*x, |x: u64, _| {
        (x ^ x.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// A hundred milliseconds of work, divided in four manners.
pub fn longer(bench: &mut Bench) {
    let rounds = bench.pick(1, 3, 7);
    // A test does a thousandth of the work, a quick run a fifth.
    let part: f64 = bench.pick(0.001, 0.2, 1.0);
    let us = links_per_us();
    let work = move |links: &u64| chain(1, *links);

    let n = (100_000.0 * part) as usize;
    let items = vec![us as u64; n];
    let goals = &[Goal::Ahead];
    row(
        bench,
        "`map` of 10^5 items of 1 µs",
        goals,
        rounds,
        &items,
        work,
    );

    let n = (10_000.0 * part) as usize;
    let skewed = |i| (20.0 * i as f64 / n as f64 * us) as u64;
    let items: Vec<u64> = (0..n).map(skewed).collect();
    row(
        bench,
        "`map` of 10^4 items of 0 to 20 µs, rising",
        &[Goal::Speedup(2.0), Goal::Ahead],
        rounds,
        &items,
        work,
    );

    let n = (1_000.0 * part).max(2.0) as usize;
    // From 20 µs to 5 ms, and only the last few dear.
    let dearest = 5_000.0 / 20.0 * part.sqrt();
    let uneven = |i| {
        let at = (i as f64 / (n - 1) as f64).powi(16);
        (20.0 * f64::powf(dearest, at) * us) as u64
    };
    let items: Vec<u64> = (0..n).map(uneven).collect();
    row(
        bench,
        "`map` of 1,000 items of 20 µs to 5 ms, dearest last",
        &[Goal::Speedup(2.0), Goal::Ahead],
        rounds,
        &items,
        work,
    );

    // A step in place of a slope: a thread that has none of the dear ones depends on being offered
    // some while the other is inside one.
    let (dear, links) = (n / 70, [20.0, 5_000.0 * part.sqrt()]);
    let step = |i| (links[usize::from(i + dear >= n)] * us) as u64;
    let items: Vec<u64> = (0..n).map(step).collect();
    row(
        bench,
        "`map` of 1,000 items of 20 µs, the last 14 of 5 ms",
        &[Goal::Speedup(1.95), Goal::Ahead],
        rounds,
        &items,
        work,
    );
}

/// Results of an iterator's items as they come, in order: items of a microsecond.
pub fn imap(bench: &mut Bench) {
    let n = bench.pick(100, 4_000, 20_000);
    let links = links_per_us() as u64;
    let work = move |i: u64| black_box(chain(1, links)) ^ i;
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            assert_eq!(peers::trefoil(2).imap(0..n, work).count() as u64, n);
        }),
        Entry::whole(Kind::OursToo, "trefoil, unordered", n, || {
            let results = peers::trefoil(2).imap_unordered(0..n, work);
            assert_eq!(results.count() as u64, n);
        }),
        Entry::whole(Kind::Peer, "rayon, par_bridge into a channel", n, || {
            let (sender, receiver) = std::sync::mpsc::sync_channel(64);
            peers::rayon(2).spawn(move || {
                let send = |i| sender.send(work(i)).expect("it is received");
                (0..n).par_bridge().for_each(send);
            });
            assert_eq!(receiver.into_iter().count() as u64, n);
        }),
        Entry::whole(Kind::Peer, "tokio, buffered", n, || {
            use futures::StreamExt as _;
            let tokio = peers::tokio();
            let tasks = (0..n).map(|i| tokio.spawn(async move { work(i) }));
            let results = futures::stream::iter(tasks).buffered(24);
            assert_eq!(tokio.block_on(results.count()) as u64, n);
        }),
        Entry::whole(Kind::Sequential, "sequential", n, || {
            (0..n).for_each(|i| _ = black_box(work(i)));
        }),
    ];
    let measured = bench.measure(bench.rounds(), entries);
    let name = "`imap` of items of 1 µs, each";
    bench.report(Row::new(name, Unit::Ns, &[Goal::Ahead]), &measured);
}

/// How many primes there are.
pub fn primes(bench: &mut Bench) {
    let below = bench.pick(1_000_u32, 100_000, 100_000);
    let count = (0..below).filter(|n| is_prime(*n)).count();
    let check = |found| assert_eq!(found, count);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", 1, || {
            let pool = peers::trefoil(2);
            let one = |n| usize::from(is_prime(n));
            check(pool.map_reduce(0..black_box(below), one, || 0, |a, b| a + b));
        }),
        Entry::whole(Kind::Peer, "rayon", 1, || {
            let all = || (0..black_box(below)).into_par_iter();
            check(peers::rayon(2).install(|| all().filter(|n| is_prime(*n)).count()));
        }),
        Entry::whole(Kind::Peer, "orx-parallel", 1, || {
            let all = IntoParIter::into_par(0..black_box(below) as usize).num_threads(2);
            check(all.filter(|n| is_prime(*n as u32)).count());
        }),
        Entry::whole(Kind::Peer, "std::thread::scope, halves", 1, || {
            let half = black_box(below) / 2;
            let part = |range: std::ops::Range<u32>| range.filter(|n| is_prime(*n)).count();
            let found = std::thread::scope(|s| {
                let right = s.spawn(|| part(half..below));
                part(0..half) + right.join().unwrap()
            });
            check(found);
        }),
        Entry::whole(Kind::Sequential, "sequential", 1, || {
            check((0..black_box(below)).filter(|n| is_prime(*n)).count());
        }),
    ];
    let measured = bench.measure(bench.pick(1, 9, 31), entries);
    let name = "primes below 100,000";
    bench.report(
        Row::new(name, Unit::Ms, &[Goal::Speedup(1.93), Goal::Ahead]),
        &measured,
    );
}
