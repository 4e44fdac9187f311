//! What one item of a process pool takes, on both sides: for counting instructions and system
//! calls.
//!
//! `process_instructions NAME TIMES [WORKERS]` runs operation NAME so often, with one worker unless
//! WORKERS says otherwise. Of two runs
//! under callgrind (`--trace-children=yes`, one file for each process) or strace (`-f -c`) with
//! different TIMES the difference counts. The counts are not quite exact: which side is awake when,
//! and how many items go into a frame, depends on time.

use std::hint::black_box;

use trefoil::{Bulk, ProcessPool};

fn add_one(x: u64) -> u64 {
    x + 1
}

fn main() {
    trefoil::init();
    let mut args = std::env::args().skip(1);
    let name = args.next().expect("the name of an operation");
    let times = args.next().and_then(|times| times.parse().ok());
    let times: u64 = times.expect("how many times");
    let workers = args.next().and_then(|workers| workers.parse().ok());
    let procs = ProcessPool::with_workers(workers.unwrap_or(1)).expect("it starts");
    match name.as_str() {
        "map" => drop(black_box(
            procs.map(0..times, add_one).expect("they answer"),
        )),
        "spawn" => {
            for i in 0..times {
                let call = procs.spawn(i, add_one);
                black_box(call.join().expect("it answers"));
            }
        }
        "bulk" => {
            let mut bulk = Bulk::from(vec![7_u8; 64 << 10]);
            for _ in 0..times {
                let call = procs.spawn(bulk, |bulk: Bulk<u8>| bulk);
                bulk = call.join().expect("it comes back");
            }
            black_box(bulk);
        }
        other => panic!("no operation {other}"),
    }
}
