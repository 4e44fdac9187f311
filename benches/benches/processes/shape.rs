//! What the plots show: items of growing size, more workers, and the memory of an idle one.

use std::collections::BTreeSet;
use std::hint::black_box;

use trefoil::{Bulk, ProcessPool};
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};

use crate::compute::count;
use crate::peers::{self, Procspawn, WORKERS, add_one};
use crate::pipes::Pipes;
use crate::python;

/// Many items of so many bytes each, there and back through two workers, copied for each call.
pub fn sizes(bench: &mut Bench) {
    for (name, size) in [
        ("64 bytes", 1 << 6),
        ("1 KiB", 1 << 10),
        ("16 KiB", 1 << 14),
        ("256 KiB", 1 << 18),
        ("4 MiB", 1 << 22),
    ] {
        let all: u64 = bench.pick(1 << 10, 4 << 20, 16 << 20);
        let n = (all / size).clamp(4, bench.pick(4, 5_000, 20_000));
        let bytes = vec![7_u8; size as usize];
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil, Bulk", n, || {
                let items = (0..n).map(|_| Bulk::from(&bytes[..]));
                let back = peers::trefoil().map(items, |bulk: Bulk<u8>| bulk);
                assert_eq!(back.expect("they come back").len() as u64, n);
            }),
            Entry::whole(Kind::OursToo, "trefoil, Vec", n, || {
                let items = (0..n).map(|_| bytes.clone());
                let back = peers::trefoil().map(items, |bytes: Vec<u8>| bytes);
                assert_eq!(back.expect("they come back").len() as u64, n);
            }),
            // A thread for each worker, because a thread that sends the next large argument before
            // it takes the last result waits for ever.
            Entry::whole(Kind::Peer, "procspawn", n, || {
                let calls = || {
                    for _ in 0..n / WORKERS as u64 {
                        let back = |bytes: Vec<u8>| bytes;
                        let call = peers::procspawn().spawn(bytes.clone(), back);
                        black_box(call.join().expect("it comes back"));
                    }
                };
                std::thread::scope(|s| (0..WORKERS).for_each(|_| drop(s.spawn(calls))));
            }),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        let name = format!("`map` of items of {name}, there and back, each");
        let row = Row::new(name, Unit::Us, &[Goal::Ahead]).detail(true);
        bench.report(row.on("throughput-processes", size as f64), &measured);
    }
}

/// Primes, in 64 ranges, by more and more workers.
pub fn scaling(bench: &mut Bench) {
    let below: u64 = bench.pick(1_000, 100_000, 300_000);
    let width = below.div_ceil(64);
    let ranges: Vec<(u64, u64)> = (0..64).map(|i| (i * width, (i + 1) * width)).collect();
    for workers in [1, 2, 4] {
        let ours = ProcessPool::with_workers(workers).expect("trefoil starts processes");
        let theirs = Procspawn(procspawn::Pool::new(workers).expect("procspawn starts processes"));
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", 1, || {
                let counts = ours.map(ranges.iter().copied(), count);
                black_box(counts.expect("they answer").into_iter().sum::<u64>());
            }),
            Entry::whole(Kind::Peer, "procspawn", 1, || {
                let calls = ranges.iter().map(|range| theirs.0.spawn(*range, count));
                for call in calls.collect::<Vec<_>>() {
                    black_box(call.join().expect("it answers"));
                }
            }),
            Entry::whole(Kind::Sequential, "sequential", 1, || {
                black_box(ranges.iter().map(|range| count(*range)).sum::<u64>());
            }),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        let name = format!("primes below {below} in processes, workers: {workers}");
        let row = Row::new(name, Unit::Ms, &[]).detail(true);
        bench.report(row, &measured);
    }
}

/// The processes whose parent is that one.
fn children(of: u32) -> BTreeSet<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{of}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")));
    let lists: Vec<String> = lists.map(Result::unwrap_or_default).collect();
    let words = lists.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The bytes that only this process has, and those that it has in memory at all.
fn bytes_of(pid: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        number.map_or(f64::NAN, |kibi| kibi * 1024.0)
    };
    (
        field("Private_Clean:") + field("Private_Dirty:"),
        field("Rss:"),
    )
}

/// After its first answer each pool is left alone, and its largest process is looked at.
fn memory_of_a_worker(bench: &Bench) -> Vec<(&'static str, Kind, f64, f64)> {
    let mut figures = Vec::new();
    let mut add = |name, kind, pids: BTreeSet<u32>| {
        let all = pids.into_iter().map(bytes_of);
        let most = all.max_by(|a, b| a.0.total_cmp(&b.0));
        let (own, resident) = most.unwrap_or((f64::NAN, f64::NAN));
        figures.push((name, kind, own, resident));
    };
    let me = std::process::id();

    let before = children(me);
    let ours = peers::new_trefoil();
    let answers = ours.map(0..1_000, add_one).expect("they answer");
    assert_eq!(answers.len(), 1_000);
    let pids = ours.worker_pids().into_iter().collect();
    add("trefoil", Kind::Ours, pids);
    drop(ours);

    let known: BTreeSet<u32> = before.union(&children(me)).copied().collect();
    let theirs = peers::new_procspawn();
    for n in 0..10 {
        assert_eq!(theirs.0.spawn(n, add_one).join().ok(), Some(n + 1));
    }
    let new = children(me).difference(&known).copied().collect();
    add("procspawn", Kind::Peer, new);
    drop(theirs);

    for mut python in python::all(bench) {
        python.ask("calls", 10);
        add(python.name(), Kind::Peer, children(python.pid()));
    }

    let known = children(me);
    let mut pipes = Pipes::new(0);
    assert_eq!(pipes.call(1), 2);
    let new = children(me).difference(&known).copied().collect();
    add("a bare process", Kind::Floor, new);
    figures
}

/// Bytes.
pub fn memory(bench: &mut Bench) {
    let figures = memory_of_a_worker(bench);
    let measured = |of: fn(&(&'static str, Kind, f64, f64)) -> f64| {
        let all = figures.iter().map(|each| (each.0, each.1, vec![of(each)]));
        Measured::new(all.collect())
    };
    let name = "an idle worker: bytes that only it has";
    let row = Row::new(name, Unit::Count, &[Goal::Ahead]);
    bench.report(row.on("memory-processes", 0.0), &measured(|each| each.2));
    let name = "an idle worker: resident bytes, those shared with others included";
    let row = Row::new(name, Unit::Count, &[]);
    bench.report(row.on("memory-processes", 0.0), &measured(|each| each.3));
}
