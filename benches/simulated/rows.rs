//! The rows of the bench `scaling` on virtual processors: `benches/simulated.sh` builds this with
//! pools that are compiled for them.
//!
//! ```console
//! rows WHO ROW WIDTH [NAME=VALUE...]
//! ```
//!
//! A name is that of a cost, or `seed`, `rounds`, `processors`, or `spawn` and `run`, which are the
//! pool's own. It prints nanoseconds for each task, how many times as fast as one processor, and
//! what was counted for each task.

use std::env;
use std::io::Write as _;
use std::thread;

use simulated::{Counts, Heap, Setup, counts, now, run, work};

#[global_allocator]
static HEAP: Heap = Heap;

/// What a library computes between its atomic operations, in nanoseconds: for a task that is
/// spawned, one that is run, and a join.
#[derive(Clone, Copy)]
struct Own {
    spawn: f64,
    run: f64,
    join: f64,
}

fn own(who: &str, row: &Row) -> Own {
    let (spawn, run) = match who {
        // So many tasks with their handles are more than the caches hold, which have no size here.
        "trefoil" if row.threads > 0 && row.ns == 0.0 => (150.0, 20.0),
        "trefoil" => (30.0, 20.0),
        "rayon" => (10.0, 10.0),
        _ => (60.0, 60.0),
    };
    let join = 2.0;
    Own { spawn, run, join }
}

/// What is run: from how many threads outside, how many tasks in all, of how many nanoseconds.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    threads: usize,
    tasks: usize,
    ns: f64,
    /// The depth of a tree.
    depth: u32,
}

const fn row(name: &'static str, threads: usize, tasks: usize, ns: f64) -> Row {
    Row {
        name,
        threads,
        tasks,
        ns,
        depth: 0,
    }
}

const fn tree(name: &'static str, depth: u32, tasks: usize, ns: f64) -> Row {
    Row {
        depth,
        ..row(name, 0, tasks, ns)
    }
}

const ROWS: [Row; 12] = [
    row("outside-nothing", 1, 20_000, 0.0),
    row("outside-4-nothing", 4, 20_000, 0.0),
    row("outside-1us", 1, 10_000, 1e3),
    row("outside-4-1us", 4, 10_000, 1e3),
    row("worker-1us", 0, 20_000, 1e3),
    row("scope-nothing", 0, 30_000, 0.0),
    tree("tree-1us", 13, 16_383, 1e3),
    tree("join-1us", 13, 8_192, 1e3),
    tree("join-50ns", 16, 65_536, 50.0),
    tree("map-5ns", 0, 1_000_000, 5.0),
    tree("map-20us", 0, 256, 2e4),
    tree("map-rising", 0, 1_000, 2e4),
];

/// The same from so many threads at once, of which the caller is one.
fn from_threads(threads: usize, spawn_all: impl Fn() + Sync) {
    thread::scope(|s| {
        for _ in 1..threads {
            s.spawn(&spawn_all);
        }
        spawn_all();
    });
}

fn on_ours(depth: u32, ns: f64, own: Own) {
    if depth == 0 {
        return work(ns);
    }
    work(own.join);
    let half = || on_ours(depth - 1, ns, own);
    trefoil::join(half, half);
}

fn on_rayons(depth: u32, ns: f64, own: Own) {
    if depth == 0 {
        return work(ns);
    }
    work(own.join);
    let half = || on_rayons(depth - 1, ns, own);
    rayon::join(half, half);
}

fn tree_of_ours<'s>(s: &'s trefoil::Scope<'s, '_>, depth: u32, ns: f64, own: Own) {
    work(own.run);
    for _ in 0..if depth > 0 { 2 } else { 0 } {
        work(own.spawn);
        s.spawn(move || tree_of_ours(s, depth - 1, ns, own));
    }
    work(ns);
}

fn tree_of_rayons<'s>(s: &rayon::Scope<'s>, depth: u32, ns: f64, own: Own) {
    work(own.run);
    for _ in 0..if depth > 0 { 2 } else { 0 } {
        work(own.spawn);
        s.spawn(move |s| tree_of_rayons(s, depth - 1, ns, own));
    }
    work(ns);
}

/// How long an item takes.
fn item(row: Row, at: usize) -> f64 {
    match row.name {
        "map-rising" => row.ns * (at + 1) as f64 / row.tasks as f64,
        _ => row.ns,
    }
}

/// One round, for whoever is asked for; none if they have no such thing.
fn rounds(who: &str, row: Row, width: usize, own: Own) -> Option<Box<dyn Fn()>> {
    let Row {
        tasks,
        threads,
        ns,
        depth,
        ..
    } = row;
    let each = tasks / threads.max(1);
    let items: Vec<usize> = (0..if depth == 0 { tasks } else { 0 }).collect();
    let spawns = move || work(own.spawn);
    let runs = move || work(own.run + ns);
    Some(match who {
        "trefoil" => {
            let pool: &'static _ = Box::leak(Box::new(trefoil::ThreadPool::with_threads(width)));
            let all = move |count: usize| {
                let spawn = |_| {
                    spawns();
                    pool.spawn(move || runs())
                };
                let tasks: Vec<_> = (0..count).map(spawn).collect();
                for task in tasks {
                    task.join().expect("it does not panic");
                }
            };
            match row.name {
                name if name.starts_with("outside") => {
                    Box::new(move || from_threads(threads, || all(each)))
                }
                "worker-1us" => Box::new(move || pool.install(|| all(tasks))),
                "scope-nothing" => Box::new(move || {
                    pool.install(|| {
                        trefoil::scope(|s| {
                            (0..tasks).for_each(|_| {
                                spawns();
                                drop(s.spawn(move || runs()));
                            });
                        });
                    });
                }),
                "tree-1us" => Box::new(move || {
                    pool.install(|| trefoil::scope(|s| tree_of_ours(s, depth, ns, own)));
                }),
                name if name.starts_with("join") => {
                    Box::new(move || pool.install(|| on_ours(depth, ns, own)))
                }
                _ => Box::new(move || {
                    let map = |at: &usize| {
                        work(item(row, *at));
                        *at
                    };
                    drop(pool.map(&items[..], map));
                }),
            }
        }
        "rayon" => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(width).build();
            let pool: &'static _ = Box::leak(Box::new(pool.expect("it has threads")));
            match row.name {
                name if name.starts_with("outside") => Box::new(move || {
                    from_threads(threads, || {
                        pool.in_place_scope(|s| {
                            (0..each).for_each(|_| {
                                spawns();
                                s.spawn(move |_| runs());
                            });
                        });
                    });
                }),
                "worker-1us" | "scope-nothing" => Box::new(move || {
                    pool.install(|| {
                        rayon::scope(|s| {
                            (0..tasks).for_each(|_| {
                                spawns();
                                s.spawn(move |_| runs());
                            });
                        });
                    });
                }),
                "tree-1us" => Box::new(move || {
                    pool.install(|| rayon::scope(|s| tree_of_rayons(s, depth, ns, own)));
                }),
                name if name.starts_with("join") => {
                    Box::new(move || pool.install(|| on_rayons(depth, ns, own)))
                }
                _ => Box::new(move || {
                    use rayon::prelude::*;
                    let map = |at: &usize| {
                        work(item(row, *at));
                        *at
                    };
                    drop(pool.install(|| items.par_iter().map(map).collect::<Vec<_>>()));
                }),
            }
        }
        "tokio" => {
            let pool = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(width)
                .build();
            let pool: &'static _ = Box::leak(Box::new(pool.expect("it has threads")));
            match row.name {
                name if name.starts_with("outside") => Box::new(move || {
                    from_threads(threads, || {
                        let spawn = |_| {
                            spawns();
                            pool.spawn(async move { runs() })
                        };
                        let tasks: Vec<_> = (0..each).map(spawn).collect();
                        pool.block_on(async {
                            for task in tasks {
                                task.await.expect("it does not panic");
                            }
                        });
                    });
                }),
                "worker-1us" => Box::new(move || {
                    let all = pool.spawn(async move {
                        let spawn = |_| {
                            spawns();
                            tokio::spawn(async move { runs() })
                        };
                        for task in (0..tasks).map(spawn).collect::<Vec<_>>() {
                            task.await.expect("it does not panic");
                        }
                    });
                    pool.block_on(all).expect("it does not panic");
                }),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [who, name, width, options @ ..] = &arguments[..] else {
        panic!("rows WHO ROW WIDTH [NAME=VALUE...]");
    };
    let row = ROWS.into_iter().find(|row| row.name == name);
    let row = row.unwrap_or_else(|| panic!("there is no row {name}"));
    let width: usize = width.parse().expect("the width is a number");
    let mut setup = Setup::default();
    setup.processors = width.max(16);
    let (mut count, mut own) = (3, own(who, &row));
    for option in options {
        let (name, value) = option.split_once('=').expect("NAME=VALUE");
        let value: f64 = value.parse().expect("a number");
        match name {
            "seed" => setup.seed = value as u64,
            "rounds" => count = value as usize,
            "spawn" => own.spawn = value,
            "run" => own.run = value,
            "processors" => setup.processors = value as usize,
            _ => *setup.costs.named(name).expect("the name of a cost") = value,
        }
    }
    run(setup, || {
        let Some(round) = rounds(who, row, width, own) else {
            return;
        };
        let mut took = Vec::new();
        let (mut all, mut mine) = (Counts::default(), Counts::default());
        for number in 0..=count {
            work(3e6); // all sleep
            let before = (counts(true), counts(false), now());
            round();
            // The first one only warms.
            if number > 0 {
                took.push(now() - before.2);
                all = all + (counts(true) - before.0);
                mine = mine + (counts(false) - before.1);
            }
        }
        took.sort_by(f64::total_cmp);
        let took = took[took.len() / 2];
        let one: f64 = (0..row.tasks).map(|at| item(row, at)).sum();
        let tasks = (row.tasks * count) as f64;
        let by_all = |count: u64| count as f64 / tasks;
        let by_me = |count: u64| count as f64 / tasks * row.threads.max(1) as f64;
        println!(
            "{name} {who} {width} {:.1} {:.3} rmws {:.2} misses {:.2} waits {:.4} woken {:.4} \
             mine {:.2} {:.2}",
            took / row.tasks as f64,
            one / took,
            by_all(all.rmws),
            by_all(all.misses()),
            by_all(all.futex_waits),
            by_all(all.woken),
            by_me(mine.rmws),
            by_me(mine.misses()),
        );
        std::io::stdout().flush().expect("it can be written");
        // Pools are never shut down: their threads are not ended, either.
        std::process::exit(0);
    });
}
