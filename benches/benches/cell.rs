//! What does one task cost? The cell alone, without queue or executor, beside
//! async-task's and the oneshot channels that a promise replaces.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench cell -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```

use std::hint::black_box;

use trefoil_benches::cell;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

/// A contender, and its function that does one operation `n` times.
type Operation = (Kind, &'static str, fn(u64) -> u64);

fn row(bench: &mut Bench, name: &str, goals: &'static [Goal], operations: &[Operation]) {
    let n = bench.pick(10, 20_000, 200_000);
    let entry = |(kind, name, operation): &Operation| {
        let operation = *operation;
        Entry::whole(*kind, name, n, move || {
            black_box(operation(n));
        })
    };
    let entries = operations.iter().map(entry).collect();
    let measured = bench.measure(bench.pick(1, 15, 31), entries);
    bench.report(
        Row::new(name, Unit::Ns, goals).on("cost-cell", 0.0),
        &measured,
    );
}

fn main() {
    let mut bench = Bench::from_args();
    bench.group("future", |bench| {
        row(
            bench,
            "spawn + run + join of a ready future",
            &[],
            &[
                (Kind::Ours, "trefoil", cell::trefoil_future),
                (Kind::Peer, "async-task", cell::async_task_future),
            ],
        );
    });
    bench.group("await", |bench| {
        row(
            bench,
            "the same, awaited before it runs",
            &[],
            &[
                (Kind::Ours, "trefoil", cell::trefoil_await),
                (Kind::Peer, "async-task", cell::async_task_await),
            ],
        );
    });
    bench.group("closure", |bench| {
        let ours: Operation = (Kind::Ours, "trefoil", cell::trefoil_closure);
        row(bench, "queue + run + join of a closure", &[], &[ours]);
    });
    bench.group("promise", |bench| {
        row(
            bench,
            "complete + join of a promise",
            &[],
            &[
                (Kind::Ours, "trefoil", cell::trefoil_promise),
                (Kind::Peer, "futures oneshot", cell::futures_oneshot),
                (Kind::Peer, "tokio oneshot", cell::tokio_oneshot),
            ],
        );
    });
    bench.finish();
}
