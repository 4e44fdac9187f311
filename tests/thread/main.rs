//! The thread pool.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate
// What only tests of Linux's need.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

mod blocking;
mod blocking_faults;
mod calls;
mod current_pool;
#[path = "../deadline/mod.rs"]
mod deadline;
mod ends;
mod futures;
mod handles;
mod imap;
mod indices;
mod items;
mod joins;
mod maps;
mod noise;
mod pool;
#[cfg(target_os = "linux")]
#[path = "../support/refuse.rs"]
mod refuse;
mod resize;
mod spares;
mod starved;
mod stats;
mod stress;
mod stress_graphs;
mod stuck;
mod turns;
mod until;

/// Calls `f`, and calls it again where all threads that it starts share one processor. (Linux only:
/// elsewhere once.)
fn with_all_processors_and_with_one(f: impl Fn() + Sync) {
    f();
    #[cfg(target_os = "linux")]
    std::thread::scope(|threads| {
        threads.spawn(|| {
            use_one_processor();
            f();
        });
    });
}

/// For this thread, and those that it starts.
#[cfg(target_os = "linux")]
fn use_one_processor() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let all = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}
