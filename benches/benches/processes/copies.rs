//! Workers that are copies of a fork server, compared with those that are started again: the first
//! answer, the next one after a death, one process for each item, and what a copy of gigabytes
//! costs.

#![allow(unsafe_code)] // advice to the kernel

use std::sync::OnceLock;
use std::time::Instant;

use rustix::mm::{Advice, madvise};
use trefoil::process::StartMethod;
use trefoil::{ProcessPool, ProcessPoolBuilder};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Scale, Unit};

use crate::death::once;
use crate::peers::{WORKERS, add_one};

/// The contenders.
const METHODS: [(&str, Kind, StartMethod); 2] = [
    ("trefoil", Kind::Ours, StartMethod::ForkServer),
    ("trefoil, started again", Kind::OursToo, StartMethod::Spawn),
];

/// What the initializer leaves.
static TABLE: OnceLock<Vec<u8>> = OnceLock::new();

/// Makes a table of so many bytes, with large pages or without.
fn make((bytes, large): (usize, bool)) {
    const LARGE: usize = 2 << 20;
    let mut table = Vec::<u8>::with_capacity(bytes + LARGE);
    let from = table.as_mut_ptr().map_addr(|at| at.next_multiple_of(4096));
    let advice = if large {
        Advice::LinuxHugepage
    } else {
        Advice::LinuxNoHugepage
    };
    // SAFETY: these pages are the vector's own, and have no content yet. (A kernel without large
    // pages refuses, and then there are none.)
    let _ = unsafe {
        madvise(
            from.cast(),
            bytes.next_multiple_of(LARGE) / 4096 * 4096,
            advice,
        )
    };
    table.resize(bytes, 1);
    TABLE.set(table).expect("it is made once");
}

fn builder(method: StartMethod, workers: usize) -> ProcessPoolBuilder {
    let builder = ProcessPool::builder().workers(workers);
    builder.start_method(method)
}

fn build(builder: ProcessPoolBuilder) -> ProcessPool {
    builder.build().expect("trefoil starts processes")
}

pub fn first_answer(bench: &mut Bench) {
    let count = bench.pick(1, 3, 5);
    let entries = METHODS.map(|(name, kind, method)| {
        Entry::samples(kind, name, move |samples| {
            for _ in 0..count {
                let start = Instant::now();
                let procs = build(builder(method, WORKERS));
                assert_eq!(procs.spawn(1, add_one).join().ok(), Some(2));
                samples.push(start.elapsed().as_nanos() as f64);
            }
        })
    });
    let measured = bench.measure(bench.few_rounds(), entries.into());
    let name = "a fork server: a pool of 2, until its first answer";
    bench.report(Row::new(name, Unit::Ms, &[]), &measured);
}

pub fn one_process_each(bench: &mut Bench) {
    let items = bench.pick(10, 500, 2000);
    let entries = METHODS.map(|(name, kind, method)| {
        let procs = build(builder(method, WORKERS).max_tasks_per_worker(1));
        Entry::whole(kind, name, items, move || {
            assert_eq!(
                procs.map(0..items, add_one).map_or(0, |all| all.len()),
                items as usize
            );
        })
    });
    let measured = bench.measure(bench.few_rounds(), entries.into());
    let name = "a fork server: a process for each item, each";
    bench.report(Row::new(name, Unit::Us, &[Goal::AtMost(500e3)]), &measured);
}

/// Over a table of so many gibibytes.
pub fn death(bench: &mut Bench, gib: usize, large: bool) {
    let available = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = available
        .lines()
        .find(|line| line.starts_with("MemAvailable"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    if gib > 0 && kib.is_none_or(|kib| kib < (2 * gib + 2) << 20) {
        println!("skipped: {gib} GiB do not fit into memory");
        return;
    }
    let bytes = match bench.scale {
        Scale::Test => 0,
        _ => gib << 30,
    };
    let mut figures = Vec::new();
    for (name, kind, method) in METHODS {
        let is_slow = gib > 0 && method == StartMethod::Spawn;
        let procs = build(builder(method, 1).initializer((bytes, large), make));
        assert_eq!(procs.spawn(1, add_one).join().ok(), Some(2));
        let times = if is_slow { 1 } else { bench.pick(1, 20, 60) };
        let ready = (0..times).map(|_| once(&procs).1).collect();
        figures.push((name, kind, ready));
    }
    let name = "killed, with a fork server".to_owned();
    let (over, goals): (_, &[Goal]) = match (gib, large) {
        (0, _) => (String::new(), &[Goal::AtMost(0.6e6)]),
        (gib, false) => (format!("; {gib} GiB"), &[]),
        (gib, true) => (format!("; {gib} GiB, large pages"), &[]),
    };
    bench.report(
        Row::new(name + &over, Unit::Us, goals),
        &Measured::new(figures),
    );
}
