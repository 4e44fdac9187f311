//! Parallel iterators: the same words here and in rayon; orx-parallel's; a plain iterator.

#![allow(clippy::manual_contains)] // the same words on both sides

use std::hint::black_box;

use orx_parallel::{Par, Parallelizable};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers;

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

/// One row: an expression with each prelude, orx-parallel's where there is one, and std's.
macro_rules! row {
    ($bench:ident, $name:expr, $goals:expr, $rounds:expr, $par:expr, $seq:expr $(, $orx:expr)?) => {{
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", 1, || {
                use trefoil::prelude::*;
                _ = black_box(peers::trefoil(2).install(|| $par));
            }),
            Entry::whole(Kind::Peer, "rayon", 1, || {
                use rayon::prelude::*;
                _ = black_box(peers::rayon(2).install(|| $par));
            }),
            $(Entry::whole(Kind::Peer, "orx-parallel", 1, || _ = black_box($orx)),)?
            Entry::whole(Kind::Sequential, "sequential", 1, || _ = black_box($seq)),
        ];
        let measured = $bench.measure($rounds, entries);
        $bench.report(Row::new($name, Unit::Us, $goals), &measured);
    }};
}

const AHEAD: &[Goal] = &[Goal::Speedup(1.0), Goal::Ahead];

/// Reductions of items that cost next to nothing.
pub fn reductions(bench: &mut Bench) {
    let rounds = bench.pick(1, 21, 101);
    for n in [1_000, 30_000, 1_000_000] {
        let n = bench.pick(n.min(1000), n, n);
        let items = mixed(n);
        let goals = if n < 1_000_000 { &AHEAD[1..] } else { AHEAD };
        let items = black_box(&items);
        row!(
            bench,
            format!("iter: sum of {n} integers"),
            goals,
            rounds,
            items.par_iter().sum::<u64>(),
            items.iter().sum::<u64>(),
            items.par().num_threads(2).copied().sum()
        );
    }
    let n = bench.pick(1000, 2_000_000, 2_000_000);
    let floats: Vec<f64> = mixed(n).into_iter().map(|x| x as f64).collect();
    let items = black_box(&floats);
    row!(
        bench,
        "iter: sum of 2·10^6 roots",
        AHEAD,
        rounds,
        items.par_iter().map(|x| x.sqrt()).sum::<f64>(),
        items.iter().map(|x| x.sqrt()).sum::<f64>(),
        items.par().num_threads(2).map(|x| x.sqrt()).sum()
    );
    row!(
        bench,
        "iter: product of two vectors, summed, 2·10^6",
        AHEAD,
        rounds,
        items.par_iter().zip(items).map(|(a, b)| a * b).sum::<f64>(),
        items.iter().zip(items).map(|(a, b)| a * b).sum::<f64>()
    );
    row!(
        bench,
        "iter: max by key of 2·10^6",
        AHEAD,
        rounds,
        items.par_iter().max_by(|a, b| a.total_cmp(b)).copied(),
        items.iter().max_by(|a, b| a.total_cmp(b)).copied()
    );
    row!(
        bench,
        "iter: filter and count of 2·10^6",
        AHEAD,
        rounds,
        items.par_iter().filter(|x| **x > 1e19).count(),
        items.iter().filter(|x| **x > 1e19).count(),
        items.par().num_threads(2).filter(|x| **x > 1e19).count()
    );
    row!(
        bench,
        "iter: any of 2·10^6, none",
        AHEAD,
        rounds,
        items.par_iter().any(|x| *x == 0.5),
        items.iter().any(|x| *x == 0.5)
    );
}

/// Vectors and changes in place.
pub fn vectors(bench: &mut Bench) {
    let rounds = bench.pick(1, 15, 51);
    let n = bench.pick(1000, 2_000_000, 2_000_000);
    let items = mixed(n);
    let items = black_box(&items);
    row!(
        bench,
        "iter: map and collect 2·10^6, ~0.2 ns",
        AHEAD,
        rounds,
        items.par_iter().map(|x| x ^ 3).collect::<Vec<u64>>(),
        items.iter().map(|x| x ^ 3).collect::<Vec<u64>>(),
        items
            .par()
            .num_threads(2)
            .map(|x| x ^ 3)
            .collect::<Vec<u64>>()
    );
    row!(
        bench,
        "iter: filter and collect 2·10^6",
        AHEAD,
        rounds,
        items
            .par_iter()
            .copied()
            .filter(|x| x % 3 == 0)
            .collect::<Vec<u64>>(),
        items
            .iter()
            .copied()
            .filter(|x| x % 3 == 0)
            .collect::<Vec<u64>>(),
        items
            .par()
            .num_threads(2)
            .copied()
            .filter(|x| x % 3 == 0)
            .collect::<Vec<u64>>()
    );
    row!(
        bench,
        "iter: enumerate, map and collect 2·10^6",
        AHEAD,
        rounds,
        items
            .par_iter()
            .enumerate()
            .map(|(i, x)| x.rotate_left(i as u32))
            .collect::<Vec<u64>>(),
        items
            .iter()
            .enumerate()
            .map(|(i, x)| x.rotate_left(i as u32))
            .collect::<Vec<u64>>()
    );
    let mut places = items.clone();
    let place = std::sync::Mutex::new(&mut places);
    row!(
        bench,
        "iter: chunks of 100, changed in place, 2·10^6",
        AHEAD,
        rounds,
        place
            .lock()
            .unwrap()
            .par_chunks_mut(100)
            .for_each(|chunk| chunk.iter_mut().for_each(|x| *x = x.rotate_left(7))),
        place
            .lock()
            .unwrap()
            .chunks_mut(100)
            .for_each(|chunk| chunk.iter_mut().for_each(|x| *x = x.rotate_left(7)))
    );
    let text: String = items
        .iter()
        .take(200_000)
        .map(|x| format!("{x}\n"))
        .collect();
    let text = black_box(&text);
    row!(
        bench,
        "iter: lines of 4 MB, parsed and summed",
        AHEAD,
        rounds,
        text.par_lines()
            .map(|line| line.parse::<u64>().unwrap() >> 32)
            .sum::<u64>(),
        text.lines()
            .map(|line| line.parse::<u64>().unwrap() >> 32)
            .sum::<u64>()
    );
    row!(
        bench,
        "iter: par_bridge of 20,000",
        &[Goal::Ahead],
        rounds,
        items
            .iter()
            .take(20_000)
            .par_bridge()
            .map(|x| x ^ 3)
            .sum::<u64>()
            >> 60,
        items.iter().take(20_000).map(|x| x >> 9).sum::<u64>()
    );
}

/// Sorting, each time the same numbers anew.
pub fn sorts(bench: &mut Bench) {
    let rounds = bench.pick(1, 5, 15);
    let n = bench.pick(1000, 4_000_000, 4_000_000);
    let items = mixed(n);
    let goals = &[Goal::Speedup(1.7), Goal::Ahead];
    let anew = || black_box(&items).clone();
    macro_rules! sort {
        ($name:expr, $goals:expr, $anew:expr, $par:ident, $seq:ident) => {
            let timed = |sort: &dyn Fn(&mut Vec<_>), samples: &mut Vec<f64>| {
                let mut items = $anew();
                let start = std::time::Instant::now();
                sort(&mut items);
                samples.push(start.elapsed().as_nanos() as f64);
                assert!(items.is_sorted());
            };
            let entries = vec![
                Entry::samples(Kind::Ours, "trefoil", |samples| {
                    use trefoil::prelude::*;
                    timed(&|items| peers::trefoil(2).install(|| items.$par()), samples);
                }),
                Entry::samples(Kind::Peer, "rayon", |samples| {
                    use rayon::prelude::*;
                    timed(&|items| peers::rayon(2).install(|| items.$par()), samples);
                }),
                Entry::samples(Kind::Sequential, "sequential", |samples| {
                    timed(&|items| items.$seq(), samples);
                }),
            ];
            let measured = bench.measure(rounds, entries);
            bench.report(Row::new($name, Unit::Ms, $goals), &measured);
        };
    }
    sort!(
        "iter: par_sort_unstable of 4·10^6",
        goals,
        anew,
        par_sort_unstable,
        sort_unstable
    );
    sort!("iter: par_sort of 4·10^6", AHEAD, anew, par_sort, sort);
    let texts: Vec<String> = items
        .iter()
        .take(bench.pick(1000, 300_000, 300_000))
        .map(u64::to_string)
        .collect();
    let again = || black_box(&texts).clone();
    sort!(
        "iter: par_sort of 300,000 strings",
        AHEAD,
        again,
        par_sort,
        sort
    );
    sort!(
        "iter: par_sort_unstable of 300,000 strings",
        AHEAD,
        again,
        par_sort_unstable,
        sort_unstable
    );
}
