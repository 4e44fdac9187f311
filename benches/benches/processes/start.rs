//! A pool of two, from nothing to its first answer, in a small process and in one with much memory.

use std::time::Instant;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Scale, Unit};

use crate::peers::{self, add_one};
use crate::pipes::Pipes;
use crate::python;

fn entries(bench: &Bench) -> Vec<Entry<'static>> {
    let count = bench.pick(1, 3, 5);
    vec![
        Entry::samples(Kind::Ours, "trefoil", move |samples| {
            for _ in 0..count {
                let start = Instant::now();
                let procs = peers::new_trefoil();
                assert_eq!(procs.spawn(1, add_one).join().ok(), Some(2));
                samples.push(start.elapsed().as_nanos() as f64);
            }
        }),
        Entry::samples(Kind::Peer, "procspawn", move |samples| {
            for _ in 0..count {
                let start = Instant::now();
                let pool = peers::new_procspawn();
                assert_eq!(pool.0.spawn(1, add_one).join().ok(), Some(2));
                samples.push(start.elapsed().as_nanos() as f64);
            }
        }),
        Entry::samples(Kind::Floor, "two bare processes", move |samples| {
            for _ in 0..count {
                let start = Instant::now();
                let mut pipes = [Pipes::new(0), Pipes::new(0)];
                assert_eq!(pipes[0].call(1), 2);
                samples.push(start.elapsed().as_nanos() as f64);
            }
        }),
    ]
}

pub fn small(bench: &mut Bench) {
    let mut entries = entries(bench);
    let pythons = python::all(bench).into_iter();
    entries.extend(pythons.map(|python| python.entry("start", 1)));
    let measured = bench.measure(bench.few_rounds(), entries);
    let goals = &[Goal::AtMost(1.5e6), Goal::Ahead];
    bench.report(
        Row::new("a pool of 2, until its first answer", Unit::Ms, goals).on("cost-processes", 0.0),
        &measured,
    );
}

/// In a process that has touched a gigabyte, or four in a full run where there is plenty.
pub fn large(bench: &mut Bench) {
    let plenty = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|info| {
            let line = info.lines().find(|line| line.starts_with("MemAvailable"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
    let plenty = plenty.is_some_and(|kib| kib > 12 << 20);
    let gib = match bench.scale {
        Scale::Test => 0,
        Scale::Full if plenty => 4,
        _ => 1,
    };
    let memory = vec![1_u8; gib << 30];
    let entries = entries(bench);
    let measured = bench.measure(bench.few_rounds(), entries);
    drop(std::hint::black_box(memory));
    let name = format!("the same in a process with {gib} GiB of memory");
    let goals = &[Goal::AtMost(1.5e6), Goal::Ahead];
    bench.report(Row::new(name, Unit::Ms, goals), &measured);
}
