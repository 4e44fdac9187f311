//! What each executor does in a process of its own, whose memory is looked at.

use std::hint::black_box;
use std::time::Duration;

/// How many tasks, items or timers a load has.
pub const MANY: u64 = 200_000;

/// The executors, ours before their peers; the load is the same in a group.
pub const ROLES: &[(&str, &[&str])] = &[
    ("threads", &["trefoil", "rayon", "tokio"]),
    ("loop", &["trefoil", "tokio", "smol"]),
    ("processes", &["trefoil", "procspawn"]),
];

/// How long an executor is left alone before its memory is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes of this process: resident, or the most that were.
fn bytes(of: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(of));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Makes an executor, looks, loads it, and looks again: prints the bytes at rest, after the load,
/// and at most, without those that the process had before.
fn look<E>(make: impl FnOnce() -> E, load: impl Fn(&E)) {
    let before = bytes("VmRSS");
    let executor = make();
    std::thread::sleep(PAUSE);
    let rest = bytes("VmRSS") - before;
    (0..3).for_each(|_| load(&executor));
    std::thread::sleep(PAUSE);
    let more = |of| bytes(of).saturating_sub(before);
    println!("{rest} {} {}", more("VmRSS"), more("VmHWM"));
    // What happens to it afterwards is not looked at.
    std::process::exit(0);
}

fn add_one(n: u64) -> u64 {
    n + 1
}

/// A map whose results are kept for a while, and tasks that all wait at once.
pub fn run(group: &str, name: &str) {
    match (group, name) {
        ("threads", "trefoil") => look(
            || trefoil::ThreadPool::with_threads(2),
            |pool| {
                drop(black_box(pool.map(0..MANY, add_one)));
                pool.scope(|s| (0..MANY).for_each(|n| drop(s.spawn(move || n))));
            },
        ),
        ("threads", "rayon") => look(
            || {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(2)
                    .build()
                    .unwrap()
            },
            |pool| {
                use rayon::prelude::*;
                let results: Vec<u64> =
                    pool.install(|| (0..MANY).into_par_iter().map(add_one).collect());
                drop(black_box(results));
                pool.scope(|s| (0..MANY).for_each(|n| s.spawn(move |_| _ = black_box(n))));
            },
        ),
        ("threads", "tokio") => look(
            || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2).build().unwrap()
            },
            |runtime| {
                let tasks = (0..MANY).map(|n| runtime.spawn(async move { n + 1 }));
                let tasks: Vec<_> = tasks.collect();
                runtime.block_on(async {
                    for task in tasks {
                        black_box(task.await.ok());
                    }
                });
            },
        ),
        ("loop", "trefoil") => look(
            || trefoil::EventLoop::new().unwrap(),
            |event_loop| {
                event_loop.block_on(async {
                    let pause = trefoil::time::sleep;
                    let tasks = (0..MANY).map(|_| trefoil::spawn(pause(PAUSE)));
                    for task in tasks.collect::<Vec<_>>() {
                        black_box(task.await.ok());
                    }
                });
            },
        ),
        ("loop", "tokio") => look(
            || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_time().build().unwrap()
            },
            |runtime| {
                runtime.block_on(async {
                    let tasks = (0..MANY).map(|_| tokio::spawn(tokio::time::sleep(PAUSE)));
                    for task in tasks.collect::<Vec<_>>() {
                        black_box(task.await.ok());
                    }
                });
            },
        ),
        ("loop", "smol") => look(smol::LocalExecutor::new, |executor| {
            smol::block_on(executor.run(async {
                let tasks = (0..MANY).map(|_| executor.spawn(smol::Timer::after(PAUSE)));
                for task in tasks.collect::<Vec<_>>() {
                    black_box(task.await);
                }
            }));
        }),
        ("processes", "trefoil") => look(
            || trefoil::ProcessPool::with_workers(2).unwrap(),
            |procs| {
                drop(black_box(procs.map(0..MANY, add_one).ok()));
                let calls = (0..MANY / 10).map(|n| procs.spawn(n, add_one));
                for call in calls.collect::<Vec<_>>() {
                    black_box(call.join().ok());
                }
            },
        ),
        ("processes", "procspawn") => look(
            || procspawn::Pool::new(2).unwrap(),
            |procs| {
                // (A call of each item would take minutes.)
                let chunks = (0..MANY).step_by(10_000).map(|from| {
                    procspawn::spawn!(in procs, (from) || {
                        (from..from + 10_000).map(|n| n + 1).collect::<Vec<u64>>()
                    })
                });
                for chunk in chunks.collect::<Vec<_>>() {
                    black_box(chunk.join().ok());
                }
            },
        ),
        (group, name) => panic!("no role {group}: {name}"),
    }
}
