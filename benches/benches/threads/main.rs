//! What do the thread pool's operations cost? Every question beside its peers.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench threads -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```
//!
//! `--only` runs the groups whose names contain one of the parts; `--list` prints the names;
//! `--markdown` prints the table of `docs/BENCHMARKS.md`. All contenders of a row run in
//! interleaved rounds in one process, as `benches/src/rows.rs` describes; `peers.rs` says which
//! threads they have. Each file below holds the rows of one kind of work, and beside
//! each row its goal.
//!
//! forte is a peer too, where its feature is on; `benches/Cargo.toml` says how.

mod join;
mod peers;
mod region;
mod spawn;

use trefoil_benches::rows::Bench;

fn main() {
    let mut bench = Bench::from_args();
    bench.group("join tree 1023", join::small);
    bench.group("join tree 2^16", |bench| join::large(bench, 16));
    bench.group("join tree 2^20", |bench| join::large(bench, 20));
    bench.group("fib", join::fib);
    bench.group("ladder", join::ladder);
    bench.group("spawn inside", spawn::inside);
    bench.group("spawn outside", spawn::outside);
    bench.group("region hot", region::hot);
    bench.group("region idle", region::idle);
    bench.finish();
}
