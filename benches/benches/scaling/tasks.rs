//! Tasks: spawned from outside by one thread and by four, spawned inside, and in scopes.

use std::hint::black_box;

use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Kind, Unit};
use trefoil_benches::work::{chain, links_per_us};

use crate::{peers, row, widths};

fn new_tokio(workers: usize) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(workers);
    builder.build().expect("tokio has threads")
}

/// The same from so many threads at once, of which the caller is one.
fn from_threads(threads: usize, spawn_all: impl Fn() + Sync) {
    std::thread::scope(|s| {
        for _ in 1..threads {
            s.spawn(&spawn_all);
        }
        spawn_all();
    });
}

/// Tasks of a microsecond, and of nothing, by threads that are not workers.
pub fn outside(bench: &mut Bench) {
    let n = bench.pick(10, 5_000, 20_000);
    let none = bench.pick(10, 20_000, 100_000);
    for (threads, us, tasks, name) in [
        (
            1,
            1.0,
            n,
            "20,000 tasks of 1 µs, spawned by one thread from outside",
        ),
        (
            4,
            1.0,
            n,
            "20,000 tasks of 1 µs, spawned by four threads from outside",
        ),
        (
            1,
            0.0,
            none,
            "100,000 tasks of nothing, spawned by one thread from outside",
        ),
        (
            4,
            0.0,
            none,
            "100,000 tasks of nothing, spawned by four threads from outside",
        ),
    ] {
        let links = (us * links_per_us()) as u64;
        let work = move || black_box(chain(1, links));
        let each = tasks / threads;
        for workers in widths(bench) {
            let ours = ThreadPool::with_threads(workers);
            let rayon = peers::new_rayon(workers);
            let tokio = new_tokio(workers);
            let mut entries = vec![
                Entry::whole(Kind::Ours, "trefoil", tasks, || {
                    from_threads(threads as usize, || {
                        let tasks: Vec<_> = (0..each).map(|_| ours.spawn(work)).collect();
                        for task in tasks {
                            task.join().expect("it does not panic");
                        }
                    });
                }),
                Entry::whole(Kind::OursToo, "trefoil, scope", tasks, || {
                    from_threads(threads as usize, || {
                        ours.scope(|s| (0..each).for_each(|_| drop(s.spawn(work))));
                    });
                }),
                Entry::whole(Kind::Peer, "rayon", tasks, || {
                    from_threads(threads as usize, || {
                        rayon.in_place_scope(|s| {
                            (0..each).for_each(|_| s.spawn(move |_| _ = work()));
                        });
                    });
                }),
                Entry::whole(Kind::Peer, "tokio", tasks, || {
                    from_threads(threads as usize, || {
                        let spawn = |_| tokio.spawn(async move { work() });
                        let tasks: Vec<_> = (0..each).map(spawn).collect();
                        tokio.block_on(async {
                            for task in tasks {
                                task.await.expect("it does not panic");
                            }
                        });
                    });
                }),
            ];
            if us > 0.0 {
                entries.push(Entry::whole(Kind::Sequential, "sequential", tasks, || {
                    (0..tasks).for_each(|_| _ = work());
                }));
            }
            let measured = bench.measure(bench.pick(1, 5, 11), entries);
            bench.report(row(name, workers, Unit::Ns), &measured);
        }
    }
}

/// Tasks of a microsecond, all spawned by one worker.
pub fn inside(bench: &mut Bench) {
    let links = links_per_us() as u64;
    let work = move || black_box(chain(1, links));
    let tasks = bench.pick(10, 5_000, 20_000);
    for workers in widths(bench) {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let tokio = new_tokio(workers);
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", tasks, || {
                ours.install(|| {
                    let tasks: Vec<_> = (0..tasks).map(|_| ours.spawn(work)).collect();
                    for task in tasks {
                        task.join().expect("it does not panic");
                    }
                });
            }),
            Entry::whole(Kind::OursToo, "trefoil, scope", tasks, || {
                ours.install(|| {
                    trefoil::scope(|s| (0..tasks).for_each(|_| drop(s.spawn(work))));
                });
            }),
            Entry::whole(Kind::Peer, "rayon, scope", tasks, || {
                rayon.install(|| {
                    rayon::scope(|s| (0..tasks).for_each(|_| s.spawn(move |_| _ = work())));
                });
            }),
            Entry::whole(Kind::Peer, "tokio", tasks, || {
                let all = tokio.spawn(async move {
                    let spawn = |_| tokio::spawn(async move { work() });
                    for task in (0..tasks).map(spawn).collect::<Vec<_>>() {
                        task.await.expect("it does not panic");
                    }
                });
                tokio.block_on(all).expect("it does not panic");
            }),
            Entry::whole(Kind::Sequential, "sequential", tasks, || {
                (0..tasks).for_each(|_| _ = work());
            }),
        ];
        let measured = bench.measure(bench.pick(1, 5, 11), entries);
        let name = "20,000 tasks of 1 µs, spawned by one worker";
        bench.report(row(name, workers, Unit::Ns), &measured);
    }
}

/// Each spawns two.
fn tree_of_ours<'s>(s: &'s trefoil::Scope<'s, '_>, depth: u32, links: u64) {
    for _ in 0..if depth > 0 { 2 } else { 0 } {
        s.spawn(move || tree_of_ours(s, depth - 1, links));
    }
    black_box(chain(1, links));
}

fn tree_of_rayons<'s>(s: &rayon::Scope<'s>, depth: u32, links: u64) {
    for _ in 0..if depth > 0 { 2 } else { 0 } {
        s.spawn(move |s| tree_of_rayons(s, depth - 1, links));
    }
    black_box(chain(1, links));
}

/// A flat scope of tasks of nothing, and a tree of tasks of a microsecond.
pub fn scopes(bench: &mut Bench) {
    let n = bench.pick(10, 20_000, 100_000);
    for workers in widths(bench) {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", n, || {
                ours.install(|| {
                    trefoil::scope(|s| (0..n).for_each(|i| drop(s.spawn(move || black_box(i)))));
                });
            }),
            Entry::whole(Kind::Peer, "rayon", n, || {
                rayon.install(|| {
                    rayon::scope(|s| (0..n).for_each(|i| s.spawn(move |_| _ = black_box(i))));
                });
            }),
        ];
        let measured = bench.measure(bench.pick(1, 5, 15), entries);
        let name = "a scope of 100,000 tasks of nothing, inside, each";
        bench.report(row(name, workers, Unit::Ns), &measured);
    }

    let name = "a scope's tree of 16,383 tasks of 1 µs";
    let links = links_per_us() as u64;
    let depth = bench.pick(3, 11, 13);
    let tasks = (2 << depth) - 1;
    for workers in widths(bench) {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", tasks, || {
                ours.install(|| trefoil::scope(|s| tree_of_ours(s, depth, links)));
            }),
            Entry::whole(Kind::Peer, "rayon", tasks, || {
                rayon.install(|| rayon::scope(|s| tree_of_rayons(s, depth, links)));
            }),
            Entry::whole(Kind::Sequential, "sequential", tasks, || {
                (0..tasks).for_each(|_| _ = black_box(chain(1, links)));
            }),
        ];
        let measured = bench.measure(bench.pick(1, 5, 11), entries);
        bench.report(row(name, workers, Unit::Ns), &measured);
    }
}
