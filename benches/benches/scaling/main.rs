//! What do more workers give? The same work by 1, 2, 4, … workers, beside its peers and a loop.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench scaling -- [--quick] [--only PART,...] [--record FILE]
//! cargo bench -- --scaling FILE --write    # such a file into benches/results
//! ```
//!
//! Up to as many workers as there are processors, so this says little on a small machine, and it is
//! no part of a plain `cargo bench`. All contenders of a row run in interleaved rounds in one
//! process, as `benches/src/rows.rs` describes. Rows that differ only in their workers make one
//! line of the table at the end: how many times as fast as the loop, or the time of one thing where
//! there is no loop to compare with. The first group measures the machine itself: what a cache line
//! and a wake-up cost.

#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

mod costs;
mod join;
mod map;
#[path = "../threads/peers.rs"]
#[allow(dead_code)] // made for two workers
mod peers;
mod processes;
mod sort;
mod tasks;

use trefoil_benches::report::run;
use trefoil_benches::rows::{Bench, Goal, Row, Scale, Unit};

/// Powers of two up to the number of processors, and that number.
pub fn widths(bench: &Bench) -> Vec<usize> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = match bench.scale {
        Scale::Test => 2,
        _ => processors,
    };
    let mut widths: Vec<usize> = (0..)
        .map(|power| 1 << power)
        .take_while(|w| *w <= most)
        .collect();
    widths.extend((widths.last() != Some(&most)).then_some(most));
    widths
}

/// A row of one line of the table.
pub fn row(work: &str, workers: usize, unit: Unit) -> Row {
    let goals: &[Goal] = &[Goal::Ahead];
    Row::new(format!("{work}, workers: {workers}"), unit, goals)
}

fn main() {
    trefoil::init();
    procspawn::init();
    let mut bench = Bench::from_args();
    bench.note(run::here_and_now());
    bench.group("machine", costs::all);
    bench.group("join", join::trees);
    bench.group("fib", join::fib);
    bench.group("map", map::shapes);
    bench.group("map after idleness", map::after_idle);
    bench.group("spawn outside", tasks::outside);
    bench.group("spawn inside", tasks::inside);
    bench.group("scopes", tasks::scopes);
    bench.group("sorts", sort::sorts);
    bench.group("processes", processes::maps);
    bench.summary();
    bench.finish();
}
