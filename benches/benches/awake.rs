//! What a task and a poll cost while live tasks are kept track of (`trefoil::inspect::tasks`).
//!
//! Once awake a process stays awake, so each round is a process of its own: this program again, in
//! turn with `TREFOIL_TASKS=1` and without. A row is the least processor time of all rounds, which
//! other programs disturb least.
//!
//! The last row is what a million live tasks add to the memory, most of which are only counted.
//!
//! Goals: 100 ns for a task, 20 ns for a poll, 64 MiB.
//!
//! ```text
//! cargo bench -p trefoil-benches --bench awake --features inspect             # all rows
//! cargo bench -p trefoil-benches --bench awake --features inspect -- --quick  # a look
//! ```
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::rc::Rc;

use rustix::time::{ClockId, clock_gettime};
use trefoil::sync::Event;
use trefoil::{EventLoop, ThreadPool};

/// The variable with the number of rounds, for the processes that measure.
const ROUNDS: &str = "TREFOIL_BENCH_ROUNDS";

/// The variable that has a process measure memory instead.
const MEMORY: &str = "TREFOIL_BENCH_MEMORY";

/// How many tasks are alive when the memory is measured.
const TASKS: u64 = 1_000_000;

/// The most that is added to the memory then, in MiB.
const MOST: f64 = 64.0;

/// How many operations a round has.
const TIMES: u64 = 20_000;

/// What is measured, of how many operations, and the most that may be added to each, in ns.
const ROWS: [(&str, f64); 5] = [
    ("a closure, spawned and joined on a pool", 100.0),
    ("a future, spawned and awaited on a loop", 100.0),
    ("a poll that yields, on a loop", 20.0),
    ("a poll that yields, on a pool", 20.0),
    (
        "a poll that another task has woken, on a loop",
        f64::INFINITY,
    ),
];

/// The processor time of this process so far, in nanoseconds.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// The least time of an operation of that row, in nanoseconds.
fn measure(row: usize, rounds: u32) -> f64 {
    let pool = ThreadPool::with_threads(1);
    let event_loop = EventLoop::new().expect("a loop");
    let yields = || async {
        for _ in 0..TIMES {
            trefoil::yield_now().await;
        }
    };
    let round = || match row {
        0 => pool.install(|| {
            for n in 0..TIMES {
                black_box(pool.spawn(move || black_box(n)).join().expect("it ends"));
            }
        }),
        1 => event_loop.block_on(async {
            for n in 0..TIMES {
                let task = trefoil::spawn(async move { black_box(n) });
                black_box(task.await.expect("it ends"));
            }
        }),
        2 => event_loop.block_on(async { trefoil::spawn(yields()).await.expect("it ends") }),
        3 => pool.spawn_async(yields()).join().expect("it ends"),
        _ => event_loop.block_on(async {
            let (ping, pings) = trefoil::sync::channel::bounded(1);
            let (pong, pongs) = trefoil::sync::channel::bounded(1);
            let other = trefoil::spawn(async move {
                while let Ok(n) = pings.recv().await {
                    pong.send(n).await.expect("it waits");
                }
            });
            let one = trefoil::spawn(async move {
                for n in 0..TIMES / 2 {
                    ping.send(n).await.expect("it waits");
                    black_box(pongs.recv().await.expect("it answers"));
                }
            });
            one.await.expect("it ends");
            other.await.expect("it ends");
        }),
    };
    round();
    let times = (0..rounds).map(|_| {
        let start = processor_time();
        round();
        (processor_time() - start) / TIMES as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

/// What is resident of this process, in MiB.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number");
    pages * rustix::param::page_size() as f64 / f64::from(1 << 20)
}

/// What so many tasks that wait, and the handles of all, add to the memory, in MiB.
fn measure_memory() -> f64 {
    let event_loop = EventLoop::new().expect("a loop");
    event_loop.block_on(async {
        let (event, begun) = (Rc::new(Event::new()), Rc::new(Cell::new(0)));
        let before = resident();
        let waits = |_| {
            let (event, begun) = (event.clone(), begun.clone());
            trefoil::spawn(async move {
                begun.set(begun.get() + 1);
                event.wait().await;
            })
        };
        let tasks: Vec<_> = (0..TASKS).map(waits).collect();
        while begun.get() < TASKS {
            trefoil::yield_now().await;
        }
        let more = resident() - before;
        event.set();
        for task in tasks {
            task.await.expect("it ends");
        }
        more
    })
}

/// This program again, as a process that keeps track of its tasks or not: what it prints.
fn run_again(variable: &str, value: &str, awake: bool) -> String {
    let output = Command::new(std::env::current_exe().expect("a path"))
        .env(variable, value)
        .env("TREFOIL_TASKS", if awake { "1" } else { "0" })
        .output()
        .expect("it runs");
    String::from_utf8(output.stdout).expect("numbers")
}

fn main() {
    if std::env::var_os(MEMORY).is_some() {
        println!("{}", measure_memory());
        return;
    }
    if let Ok(rounds) = std::env::var(ROUNDS) {
        let rounds = rounds.parse().expect("a number");
        for row in 0..ROWS.len() {
            println!("{}", measure(row, rounds));
        }
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let (processes, rounds) = if quick { (2, 10) } else { (8, 50) };
    let mut least: BTreeMap<(usize, bool), f64> = BTreeMap::new();
    for _ in 0..processes {
        for awake in [false, true] {
            let text = run_again(ROUNDS, &rounds.to_string(), awake);
            for (row, time) in text.lines().enumerate() {
                let time: f64 = time.parse().expect("a number");
                let before = least.entry((row, awake)).or_insert(f64::INFINITY);
                *before = before.min(time);
            }
        }
    }
    println!("What is added while live tasks are kept track of");
    let mut met = true;
    for (row, (name, goal)) in ROWS.iter().enumerate() {
        let (asleep, awake) = (least[&(row, false)], least[&(row, true)]);
        let more = awake - asleep;
        met &= more <= *goal;
        println!("  {name:<48} {asleep:>7.1} ns {awake:>7.1} ns   +{more:.1} ns");
    }
    let memory = |awake| run_again(MEMORY, "1", awake).trim().parse::<f64>();
    let [asleep, awake] = [false, true].map(|awake| memory(awake).expect("a number"));
    let more = awake - asleep;
    met &= more <= MOST;
    let name = format!("{TASKS} live tasks that wait for an event");
    println!("  {name:<48} {asleep:>6.1} MiB {awake:>5.1} MiB  +{more:.1} MiB");
    println!(
        "{}",
        if met {
            "the goals are met"
        } else {
            "A GOAL IS MISSED"
        }
    );
}
