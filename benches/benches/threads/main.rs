//! What do the thread pool's operations cost? Every question beside its peers.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench threads -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```
//!
//! `--only` runs the groups whose names contain one of the parts; `--list` prints the names;
//! `--markdown` prints a table of all rows. All contenders of a row run in
//! interleaved rounds in one process, as `benches/src/rows.rs` describes; `peers.rs` says which
//! threads they have. Each file below holds the rows of one kind of work, and beside
//! each row its goal.
//!
//! forte, ForkUnion and micropool are peers, too, if their features are on; `benches/Cargo.toml`
//! says how.

#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

mod crowd;
mod idle;
mod iter;
mod join;
mod map;
mod peers;
mod region;
mod shape;
mod spawn;
mod storm;

use trefoil_benches::rows::{Bench, Scale};

fn main() {
    if idle::child() {
        return;
    }
    let mut bench = Bench::from_args();
    bench.group("join tree 1023", join::small);
    bench.group("join tree 2^16", |bench| join::large(bench, 16));
    bench.group("join tree 2^20", |bench| join::large(bench, 20));
    if bench.scale == Scale::Full {
        bench.group("join tree 2^22", |bench| join::large(bench, 22));
        bench.group("join tree 2^24", |bench| join::large(bench, 24));
    }
    bench.group("join tiny", join::tiny);
    bench.group("install narrow", join::narrow);
    bench.group("fib", join::fib);
    bench.group("contention", join::crowded);
    bench.group("ladder", join::ladder);
    bench.group("spawn inside", spawn::inside);
    bench.group("spawn outside", spawn::outside);
    bench.group("spawn 10^6 handles", storm::handles);
    bench.group("spawn 10^6 detached", storm::detached);
    bench.group("scope 10^6", storm::scopes);
    bench.group("scope tree", storm::trees);
    bench.group("job parked", spawn::parked);
    bench.group("job back to back", spawn::back_to_back);
    bench.group("region hot", region::hot);
    bench.group("region idle", region::idle);
    bench.group("region back to back", region::back_to_back);
    bench.group("map tiny", map::tiny);
    bench.group("map large", map::large);
    bench.group("map longer", map::longer);
    bench.group("imap", map::imap);
    bench.group("primes", map::primes);
    bench.group("iter reductions", iter::reductions);
    bench.group("iter vectors", iter::vectors);
    bench.group("iter sorts", iter::sorts);
    bench.group("gain", shape::gain);
    bench.group("scaling", shape::scaling);
    bench.group("crowd jobs", crowd::jobs);
    bench.group("crowd regions", crowd::regions);
    bench.group("idle", idle::idle);
    bench.finish();
}
