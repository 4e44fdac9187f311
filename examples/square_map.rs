//! The smallest pool of processes: squares, four workers at a time.
//!
//! ```text
//! cargo run --example square_map
//! ```

use std::collections::HashSet;

use trefoil::ProcessPool;

fn square(n: u64) -> u64 {
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a worker process this line never returns.
    trefoil::init();

    let procs = ProcessPool::with_workers(4)?;

    // One by one: each call is a task, and all of them run meanwhile.
    let twelve = procs.spawn(12, square);
    println!("12 squared is {}", twelve.join()?);

    // Many at once: the results are in the order of the items, whichever was finished first.
    println!("{:?}", procs.map(1..=10, square)?);

    // As they come, from an input without end: not much more than needed is computed.
    let large: Vec<u64> = procs
        .imap(1.., square)
        .map(|square| square.expect("nothing goes wrong here"))
        .skip_while(|square| *square < 1_000_000)
        .take(3)
        .collect();
    println!("from a million on: {large:?}");

    // The calls run in other processes.
    let pids = procs.map(0..10_000, |_: u32| std::process::id())?;
    let pids: HashSet<u32> = pids.into_iter().collect();
    let workers: HashSet<u32> = procs.worker_pids().into_iter().collect();
    assert!(pids.is_subset(&workers) && !workers.contains(&std::process::id()));
    println!("{} workers, none of them this process", workers.len());
    Ok(())
}
