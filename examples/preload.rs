//! A table of 200 MB for four workers, and one crash, with both start methods: how long the first
//! answer takes, how long it takes after the crash, and how much memory the processes use together.
//! With a fork server the table is built once, and in memory once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use trefoil::ProcessPool;
use trefoil::process::StartMethod;

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
/// Which process has built it.
static BUILDER: OnceLock<u32> = OnceLock::new();

/// What every worker needs: as if a model were read.
fn load(megabytes: u64) {
    let numbers = (0..megabytes << 17).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    TABLE.set(numbers.collect()).unwrap();
    BUILDER.set(std::process::id()).unwrap();
}

fn look_up(at: u64) -> u64 {
    TABLE.get().unwrap()[at as usize]
}

/// The memory of the workers and their server, in megabytes: a page that several share counts as
/// a part for each.
fn megabytes(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let file = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = file.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    pids.iter().filter_map(of).sum::<u64>() >> 10
}

fn measure(method: StartMethod) -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let procs = ProcessPool::builder()
        .workers(4)
        .initializer(200, load)
        .start_method(method)
        .build()?;
    let first = procs.spawn(7, look_up).join()?;
    let first_answer = begin.elapsed();
    while procs.worker_pids().len() < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
    procs.map((0..1000).map(|n| n * 1000), look_up)?;

    let mut pids = procs.worker_pids();
    let builder = procs.spawn((), |()| *BUILDER.get().unwrap()).join()?;
    if !pids.contains(&builder) {
        pids.push(builder); // the server
    }
    let memory = megabytes(&pids);

    let crash = |()| -> () { std::process::abort() };
    // Each worker crashes once, so that the next answer is a new one's.
    for _ in 0..4 {
        assert!(procs.spawn((), crash).join().is_err());
    }
    let begin = Instant::now();
    assert_eq!(procs.spawn(7, look_up).join()?, first);
    let after = begin.elapsed();
    println!("{method:?}: {memory} MB; the first answer after {first_answer:.0?},");
    println!("  after crashes of all workers the next one came after {after:.1?}");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    measure(StartMethod::Spawn)?;
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        measure(StartMethod::ForkServer)?;
    }
    Ok(())
}
