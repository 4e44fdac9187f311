//! What a page costs its program with a million tasks, and that it needs no more after an hour.
//!
//! `TREFOIL_FULL`: a million tasks instead of 300,000. `TREFOIL_SOAK`: for how many seconds pages
//! come and go.
#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods)] // a program, not the crate

// Each test program uses a part of it.
#[allow(dead_code)]
mod support;

use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use support::Client;
use trefoil::{CancelToken, EventLoop, ProcessPool, ThreadPool};
use trefoil_dashboard::serve;

/// The most processor time for a second of an open page; without optimization, ten times that.
const MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 50 } else { 5 });

/// One test at a time: both look at what this process has.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processor time of the dashboard's thread.
fn used() -> Duration {
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = thread.unwrap().path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() == "trefoil-dash" {
            let times = std::fs::read_to_string(path.join("schedstat")).unwrap();
            return Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("the dashboard has no thread");
}

/// The resident memory of this process, in bytes.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

fn tasks() -> usize {
    match std::env::var_os("TREFOIL_FULL") {
        Some(_) => 1_000_000,
        None => 300_000,
    }
}

/// A thread that drives a loop with so many tasks that wait.
fn many_tasks(count: usize, stop: &CancelToken) -> JoinHandle<()> {
    let stop = stop.clone();
    let (ready, is_ready) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        for n in 0..count {
            let task = event_loop.spawn(std::future::pending::<()>());
            task.named(["reader", "writer", "timer"][n % 3]).detach();
        }
        event_loop.block_on(async {
            trefoil::yield_now().await;
            ready.send(()).unwrap();
            stop.cancelled().await;
        });
    });
    is_ready.recv().unwrap();
    thread
}

#[test]
fn a_page_costs_little_however_many_tasks_there_are() {
    let _alone = alone();
    let dashboard = serve("127.0.0.1:0").unwrap();
    let stop = CancelToken::new();
    let thread = many_tasks(tasks(), &stop);
    let pool = ThreadPool::with_threads(4);
    let procs = ProcessPool::with_workers(2).unwrap();
    let _watched = (
        dashboard.watch_threads(&pool, "threads"),
        dashboard.watch_processes(&procs, "processes"),
    );
    let client = Client::enter(&dashboard);
    let mut events = client.events().unwrap();
    events.wait("sample", |_| true);
    // The first look at the groups reads all tasks.
    let first = client.get("tasks?by=name").json();
    assert!(first["total"].as_u64() >= Some(tasks() as u64), "{first}");
    let before = memory();

    let (start, began) = (Instant::now(), used());
    for _ in 0..2 {
        for _ in 0..2 {
            events.wait("sample", |_| true);
        }
        let view = client.get("tasks?by=name").json(); // as the page asks, every two seconds
        assert_eq!(
            view["groups"].as_array().unwrap().len(),
            first["groups"].as_array().unwrap().len()
        );
    }
    let took = used() - began;
    let second = took.div_f64(start.elapsed().as_secs_f64());
    println!("{} tasks: {second:?} of processor time a second", tasks());
    assert!(second <= MOST, "{second:?} a second");

    // A page of tasks is made when it is asked for.
    let (page, began) = (Instant::now(), used());
    let tree = client.get("tasks?by=tree&page=1000");
    assert!(tree.body.len() < 100_000);
    println!(
        "a page of the tree: {:?}, of {:?}",
        used() - began,
        page.elapsed()
    );
    assert!(
        memory() < before + (64 << 20),
        "from {before} to {} bytes",
        memory()
    );
    stop.cancel();
    thread.join().unwrap();
}

/// Pages come and go, some without reading, while all kinds of work run: memory does not grow.
#[test]
fn pages_that_come_and_go_leave_nothing() {
    let _alone = alone();
    let seconds = std::env::var("TREFOIL_SOAK").ok();
    let length = seconds.map_or(4, |seconds| seconds.parse().unwrap());
    let dashboard = serve("127.0.0.1:0").unwrap();
    let (recorder, hook) = (dashboard.recorder(), dashboard.recorder());
    let pool = ThreadPool::builder()
        .threads(2)
        .on_unobserved(move |report| hook.failure(report))
        .build()
        .unwrap();
    let procs = ProcessPool::with_workers(2).unwrap();
    let client = Client::enter(&dashboard);
    let start = Instant::now();
    let (mut rounds, mut settled) = (0_u64, 0);
    while start.elapsed() < Duration::from_secs(length) {
        rounds += 1;
        let _watched = (
            dashboard.watch_threads(&pool, format!("threads {rounds}")),
            dashboard.watch_processes(&procs, format!("processes {rounds}")),
        );
        let mut open: Vec<_> = (0..4).filter_map(|_| client.events().ok()).collect();
        if let Some(events) = open.first_mut() {
            events.wait("sample", |_| true);
        }
        // Names that are new each time, a failure, a map, and a page of everything.
        let names: Vec<_> = (0..100)
            .map(|n| pool.spawn(|| ()).named(format!("task {rounds} {n}")))
            .collect();
        for task in names {
            task.join().unwrap();
        }
        pool.spawn(move || panic!("round {rounds}")).detach();
        procs.map(0..1000, |n: u64| n * n).unwrap();
        for path in [
            "tasks?by=name",
            "tasks?by=site",
            "tasks?by=tree",
            "report.html",
            "metrics",
        ] {
            assert_eq!(client.get(path).status, 200, "{path}");
        }
        drop(open);
        if start.elapsed() < Duration::from_secs(length) / 4 || rounds <= 2 {
            settled = memory();
        }
    }
    let grown = memory().saturating_sub(settled) >> 10;
    println!(
        "{rounds} rounds in {:?}: {grown} KiB more, {:?} of processor time",
        start.elapsed(),
        used()
    );
    assert!(grown < 16 << 10, "{grown} KiB more than at the beginning");
    drop(recorder);
}
