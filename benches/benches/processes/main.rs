//! What do calls into worker processes cost? Every question beside its peers. Two workers each.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench processes -- [--quick] [--only PART,...] [--markdown] [--list]
//! ```
//!
//! The options are those of `threads`. The peers: procspawn; ipc-channel by hand
//! (`ipc.rs`); Python's `multiprocessing.Pool`, `concurrent.futures.ProcessPoolExecutor` and
//! joblib's loky, each in an interpreter that takes
//! part in the rounds (`python.rs`; where one is missing, a line says so and its rows go on without
//! it); and two bare pipes to a copy of this program (`pipes.rs`), which is what a safe pool could
//! do at best.
//!
//! A round trip between two processors is mostly the wake-up of a sleeping one. So calls are
//! measured with pauses, one after the other, and with all processes on one processor.

#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

mod bulk;
mod calls;
mod compute;
mod copies;
mod death;
mod idle;
mod ipc;
mod map;
mod peers;
mod pipes;
mod python;
mod shape;
mod start;

use trefoil_benches::rows::Bench;

fn main() {
    trefoil::init();
    procspawn::init();
    if pipes::child() || ipc::child() {
        return;
    }
    let mut bench = Bench::from_args();
    bench.group("start small", start::small);
    bench.group("start large", start::large);
    bench.group("call with pauses", calls::with_pauses);
    bench.group("call back to back", calls::back_to_back);
    bench.group("call one cpu", calls::on_one_cpu);
    bench.group("callers", calls::eight_callers);
    bench.group("separate", calls::separate);
    bench.group("map", map::tiny);
    bench.group("map short", map::short);
    bench.group("bulk 64K", |bench| bulk::there_and_back(bench, 64 << 10));
    bench.group("bulk 1M", |bench| bulk::there_and_back(bench, 1 << 20));
    bench.group("bulk 16M", |bench| bulk::there_and_back(bench, 16 << 20));
    bench.group("bulk ways", bulk::ways);
    bench.group("bytes", bulk::bytes);
    bench.group("bulk 256M", |bench| bulk::large(bench, 256 << 20));
    bench.group("bulk 1G", |bench| bulk::large(bench, 1 << 30));
    bench.group("sizes", shape::sizes);
    bench.group("scaling", shape::scaling);
    bench.group("memory", shape::memory);
    bench.group("death", death::noticed);
    bench.group("copies start", copies::first_answer);
    bench.group("copies each", copies::one_process_each);
    for (gib, large) in [(0, false), (1, false), (1, true), (4, false), (4, true)] {
        let pages = if large { " large" } else { "" };
        bench.group(&format!("copies {gib}{pages}"), |bench| {
            copies::death(bench, gib, large);
        });
    }
    bench.group("eight calls", death::eight_calls);
    bench.group("compute", compute::primes);
    bench.group("idle", idle::idle);
    bench.finish();
}
