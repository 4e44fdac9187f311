//! What a task costs: spawned, run and awaited; and what a yield costs.

use std::hint::black_box;

use futures::executor::LocalSpawner;
use futures::task::LocalSpawnExt;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers::runtimes;
use crate::python;

/// Spawned and awaited in turn.
async fn in_turn<T: Future>(n: u64, spawn: impl Fn(u64) -> T) {
    for i in 0..n {
        black_box(spawn(black_box(i)).await);
    }
}

/// So many are spawned, then all are awaited.
async fn in_batches<T: Future>(n: u64, size: u64, spawn: impl Fn(u64) -> T) {
    for _ in 0..n / size {
        let tasks: Vec<T> = (0..size).map(&spawn).collect();
        for task in tasks {
            black_box(task.await);
        }
    }
}

fn ours(i: u64) -> trefoil::Task<u64> {
    trefoil::spawn(async move { i })
}

fn tokios(i: u64) -> tokio::task::JoinHandle<u64> {
    tokio::spawn(async move { i })
}

fn sets(i: u64) -> tokio::task::JoinHandle<u64> {
    tokio::task::spawn_local(async move { i })
}

fn smols(i: u64) -> smol::Task<u64> {
    runtimes().smol.spawn(async move { i })
}

fn monoios(i: u64) -> monoio::task::JoinHandle<u64> {
    monoio::spawn(async move { i })
}

fn spawner() -> LocalSpawner {
    runtimes().pool.borrow().spawner()
}

fn pools(spawner: &LocalSpawner) -> impl Fn(u64) -> futures::future::RemoteHandle<u64> {
    let spawner = spawner.clone();
    move |i| {
        let task = spawner.spawn_local_with_handle(async move { i });
        task.expect("the pool is there")
    }
}

/// Every runtime in batches of `size`; 1: in turn.
fn entries(n: u64, size: u64) -> Vec<Entry<'static>> {
    macro_rules! all {
        ($n:ident, $spawn:expr) => {
            async {
                match size {
                    1 => in_turn($n, $spawn).await,
                    _ => in_batches($n, size, $spawn).await,
                }
            }
        };
    }
    let here = runtimes();
    let pool = spawner();
    let mut entries = vec![
        Entry::hot(Kind::Ours, "trefoil", n, move |n| {
            here.ours.block_on(all!(n, ours))
        }),
        Entry::hot(Kind::Peer, "tokio, spawn", n, move |n| {
            here.on_tokio(all!(n, tokios))
        }),
        Entry::hot(Kind::Peer, "tokio, LocalSet", n, move |n| {
            here.on_set(all!(n, sets))
        }),
        Entry::hot(Kind::Peer, "smol", n, move |n| here.on_smol(all!(n, smols))),
        Entry::hot(Kind::Peer, "smol, without its reactor", n, move |n| {
            here.on_bare_smol(all!(n, smols))
        }),
        Entry::hot(Kind::Peer, "monoio", n, move |n| {
            here.on_monoio(all!(n, monoios));
        }),
        Entry::hot(Kind::Peer, "futures, LocalPool", n, move |n| {
            here.on_pool(all!(n, pools(&pool)))
        }),
    ];
    entries.extend(python::entries("tasks", n, size));
    entries
}

/// One by one.
pub fn one_by_one(bench: &mut Bench) {
    let n = bench.pick(10, 10_000, 50_000);
    let measured = bench.measure(bench.rounds(), entries(n, 1));
    let name = "spawn + run + await of a ready local task, one by one";
    let goals = &[Goal::AtMost(60.0), Goal::Ahead];
    let row = Row::new(name, Unit::Ns, goals).on("cost-loop", 0.0);
    bench.report(row, &measured);
}

/// A thousand at a time.
pub fn batches(bench: &mut Bench) {
    let n = bench.pick(1_000, 20_000, 100_000);
    let measured = bench.measure(bench.rounds(), entries(n, 1_000));
    let name = "the same in batches of 1,000";
    let goals = &[Goal::AtMost(40.0), Goal::Ahead];
    let row = Row::new(name, Unit::Ns, goals).on("cost-loop", 0.0);
    bench.report(row, &measured);
}

/// A million.
pub fn at_once(bench: &mut Bench) {
    let n = bench.pick(1_000, 100_000, 1_000_000);
    let measured = bench.measure(bench.few_rounds(), entries(n, n));
    let name = format!("the same, {n} at once");
    let goals = &[Goal::AtMost(50.0), Goal::Ahead];
    bench.report(Row::new(name, Unit::Ns, goals), &measured);
}

const YIELDERS: u64 = 100;

/// A hundred tasks that yield.
async fn all_yield<T: Future>(n: u64, spawn: impl Fn(u64) -> T) {
    in_batches(YIELDERS, YIELDERS, |_| spawn(n / YIELDERS)).await;
}

async fn yielding<Y: Future>(n: u64, yield_now: impl Fn() -> Y) -> u64 {
    for _ in 0..n {
        yield_now().await;
    }
    n
}

/// A yield that lets others run.
pub fn yields(bench: &mut Bench) {
    let n = bench.pick(1_000, 100_000, 500_000);
    let here = runtimes();
    let watched = trefoil::EventLoop::builder()
        .slow_poll(std::time::Duration::from_secs(3600), |_| {})
        .build()
        .expect("the system gives trefoil its descriptors");
    let ours = |event_loop: &trefoil::EventLoop, n| {
        event_loop.block_on(all_yield(n, |n| {
            trefoil::spawn(yielding(n, trefoil::yield_now))
        }));
    };
    let mut entries = vec![
        Entry::hot(Kind::Ours, "trefoil", n, |n| ours(&here.ours, n)),
        Entry::hot(Kind::OursToo, "trefoil, with slow_poll", n, |n| {
            ours(&watched, n)
        }),
        Entry::hot(Kind::Peer, "tokio, spawn", n, |n| {
            here.on_tokio(all_yield(n, |n| {
                tokio::spawn(yielding(n, tokio::task::yield_now))
            }))
        }),
        Entry::hot(Kind::Peer, "tokio, LocalSet", n, |n| {
            here.on_set(all_yield(n, |n| {
                tokio::task::spawn_local(yielding(n, tokio::task::yield_now))
            }))
        }),
        Entry::hot(Kind::Peer, "smol", n, |n| {
            here.on_smol(all_yield(n, |n| {
                here.smol.spawn(yielding(n, smol::future::yield_now))
            }))
        }),
        Entry::hot(Kind::Peer, "futures, LocalPool", n, |n| {
            let spawner = spawner();
            here.on_pool(all_yield(n, |n| {
                let task = yielding(n, smol::future::yield_now);
                let task = spawner.spawn_local_with_handle(task);
                task.expect("the pool is there")
            }))
        }),
    ];
    entries.extend(python::entries("yields", n, YIELDERS));
    let measured = bench.measure(bench.rounds(), entries);
    let goals = &[Goal::AtMost(10.0), Goal::Ahead];
    bench.report(
        Row::new("a yield, among a hundred tasks", Unit::Ns, goals).on("cost-loop", 0.0),
        &measured,
    );
}
