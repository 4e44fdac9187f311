//! `map` over many tiny items.

use std::hint::black_box;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};
use trefoil_benches::work::chain;

use crate::peers::{self, PLAIN, WORKERS, add_one};
use crate::pipes::Pipes;
use crate::python;

/// procspawn has no `map`; this is what its users write, with chunks of a size that suits it.
const CHUNK: u64 = 12_500;

fn by_chunks(count: u64) -> Vec<u64> {
    let chunks = (0..count).step_by(CHUNK as usize);
    let calls: Vec<_> = chunks
        .map(|from| {
            let items: Vec<u64> = (from..count.min(from + CHUNK)).collect();
            let add = |items: Vec<u64>| items.into_iter().map(add_one).collect::<Vec<_>>();
            peers::procspawn().spawn(items, add)
        })
        .collect();
    calls
        .into_iter()
        .flat_map(|call| call.join().expect("it answers"))
        .collect()
}

pub fn tiny(bench: &mut Bench) {
    let count = bench.pick(1_000, 2_000_000, 10_000_000);
    let few = bench.pick(100, 100_000, 500_000);
    let mut pipes: Vec<_> = (0..WORKERS).map(|_| Pipes::new(0)).collect();
    let mut entries = vec![
        Entry::whole(Kind::Ours, "trefoil", count, || {
            black_box(
                peers::trefoil()
                    .map(0..count, add_one)
                    .expect("they answer"),
            );
        }),
        Entry::whole(Kind::OursToo, PLAIN, few, || {
            black_box(peers::plain().map(0..few, add_one).expect("they answer"));
        }),
        Entry::whole(Kind::Peer, "procspawn, chunks of 12,500", count, || {
            black_box(by_chunks(count));
        }),
        Entry::whole(
            Kind::Floor,
            "bare pipes, 4 KiB messages",
            count,
            move || {
                black_box(Pipes::all(&mut pipes, count));
            },
        ),
    ];
    entries.extend(
        python::all(bench)
            .into_iter()
            .map(|python| python.entry("map", few)),
    );
    let measured = bench.measure(bench.few_rounds(), entries);
    let goals = &[Goal::AtMost(12.5), Goal::Ahead];
    bench.report(
        Row::new("`map` of 10^7 tiny items, each", Unit::Ns, goals).on("cost-processes", 0.0),
        &measured,
    );
}

/// Computes for about a microsecond. (A loop that is inlined in its callers takes half as long in
/// one build as in another.)
fn compute(n: u64) -> u64 {
    chain(n, 300)
}

/// Where an item takes about as long as it costs a plain worker to say that it begins.
pub fn short(bench: &mut Bench) {
    let count = bench.pick(1_000, 200_000, 1_000_000);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", count, || {
            black_box(
                peers::trefoil()
                    .map(0..count, compute)
                    .expect("they answer"),
            );
        }),
        Entry::whole(Kind::OursToo, PLAIN, count, || {
            black_box(peers::plain().map(0..count, compute).expect("they answer"));
        }),
        Entry::whole(Kind::Sequential, "sequential", count, || {
            for n in 0..count {
                black_box(compute(n));
            }
        }),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let row = "`map` of items of about a microsecond, two workers, each";
    bench.report(Row::new(row, Unit::Ns, &[]), &measured);
}
