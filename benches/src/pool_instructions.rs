//! One operation of the thread pool, many times: for counting instructions.
//!
//! `pool_instructions NAME` prints by how many to divide, and runs operation NAME so
//! often inside `measured`. Run it under `valgrind --tool=callgrind
//! --toggle-collect='*measured*'`, which counts what the calling thread executes there
//! and nothing else. `benches/instructions.sh` does so for every operation.
//!
//! **What can be exact.** Only what one thread does alone. So the operations that are
//! held to a limit run in a pool of one, or in a pool of two whose other worker
//! sits in a task of its own; those in which another worker is asleep, and may be
//! woken, are printed for comparison.

use std::hint::black_box;
use std::sync::mpsc;

use trefoil::ThreadPool;
use trefoil_benches::work::{Node, nodes, sum_left};

const LAYERS: u32 = 10;
const SUMS: u64 = 100;
const CALLS: u64 = 2_000;
const ITEMS: u64 = 1_000_000;

/// What is counted.
#[inline(never)]
fn measured(times: u64, work: &mut dyn FnMut()) {
    for _ in 0..times {
        work();
    }
}

/// The same work before it is counted, then counted; each call of it is `each` operations.
fn count(times: u64, each: u64, mut work: impl FnMut()) {
    for _ in 0..times.min(20) {
        work();
    }
    println!("{}", times * each);
    measured(times, &mut work);
}

fn on_trefoil(node: &Node) -> u64 {
    let (left, right) = trefoil::join(
        || node.left.as_deref().map_or(0, on_trefoil),
        || node.right.as_deref().map_or(0, on_trefoil),
    );
    node.value + left + right
}

fn on_rayon(node: &Node) -> u64 {
    let (left, right) = rayon::join(
        || node.left.as_deref().map_or(0, on_rayon),
        || node.right.as_deref().map_or(0, on_rayon),
    );
    node.value + left + right
}

fn on_chili(scope: &mut chili::Scope<'_>, node: &Node) -> u64 {
    let (left, right) = scope.join(
        |s| node.left.as_deref().map_or(0, |node| on_chili(s, node)),
        |s| node.right.as_deref().map_or(0, |node| on_chili(s, node)),
    );
    node.value + left + right
}

/// Keeps a worker inside a task until it is dropped.
struct Busy(#[allow(dead_code)] mpsc::Sender<()>);

impl Busy {
    fn worker(pool: &ThreadPool) -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        let (started, wait) = mpsc::channel();
        let sit = move || {
            started.send(()).expect("it is waited for");
            let _ = receiver.recv();
        };
        pool.spawn(sit).detach();
        wait.recv().expect("it starts");
        Self(sender)
    }
}

fn tree(pool: &ThreadPool) {
    let tree = &Node::tree(LAYERS);
    let sum = || assert_eq!(on_trefoil(black_box(tree)), nodes(LAYERS));
    pool.install(|| count(SUMS, nodes(LAYERS), sum));
}

fn plus_one(x: &u32) -> u32 {
    x.wrapping_add(1)
}

fn main() {
    // What is decided by the clock must not depend on how slow valgrind is.
    trefoil::thread::freeze_ticks();
    let name = std::env::args().nth(1).expect("the name of an operation");
    let one = || ThreadPool::with_threads(1);
    let small = &Node::tree(LAYERS);
    let items: Vec<u32> = (0..ITEMS as u32).collect();
    let items = &items[..];
    match name.as_str() {
        "tree-sequential" => count(SUMS, nodes(LAYERS), || {
            assert_eq!(sum_left(black_box(small)), nodes(LAYERS));
        }),
        "tree-1-worker" => tree(&one()),
        "tree-2-one-busy" => {
            let pool = ThreadPool::with_threads(2);
            let _busy = Busy::worker(&pool);
            tree(&pool);
        }
        "tree-2-one-asleep" => tree(&ThreadPool::with_threads(2)),
        "tree-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let sum = || assert_eq!(on_rayon(black_box(small)), nodes(LAYERS));
            rayon
                .expect("rayon has threads")
                .install(|| count(SUMS, nodes(LAYERS), sum));
        }
        "tree-chili" => {
            let chili = chili::ThreadPool::with_config(chili::Config {
                thread_count: std::num::NonZero::new(1),
                ..chili::Config::default()
            });
            let scope = &mut chili.scope();
            count(SUMS, nodes(LAYERS), || {
                assert_eq!(on_chili(scope, black_box(small)), nodes(LAYERS));
            });
        }
        "spawn-inside" => {
            let pool = one();
            pool.install(|| {
                count(CALLS, 1, || {
                    let i = black_box(1);
                    assert_eq!(pool.spawn(move || i).join().unwrap(), 1);
                });
            });
        }
        "spawn-blocking-inside" => one().install(|| {
            count(CALLS, 1, || {
                let i = black_box(1);
                assert_eq!(trefoil::spawn_blocking(move || i).join().unwrap(), 1);
            });
        }),
        "spawn-outside" => {
            let pool = one();
            let _busy = Busy::worker(&pool);
            count(CALLS, 1, || {
                let i = black_box(1);
                assert_eq!(pool.spawn(move || i).join().unwrap(), 1);
            });
        }
        "scope-spawn-inside" => one().install(|| {
            trefoil::scope(|s| {
                count(CALLS, 1, || {
                    let i = black_box(1);
                    assert_eq!(s.spawn(move || i).join().unwrap(), 1);
                });
            });
        }),
        "scope-of-one" => one().install(|| {
            count(CALLS, 1, || {
                trefoil::scope(|s| {
                    s.spawn(|| black_box(1));
                });
            });
        }),
        "scope-of-one-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let scope = || {
                rayon::scope(|s| {
                    s.spawn(|_| {
                        black_box(1);
                    })
                })
            };
            rayon
                .expect("rayon has threads")
                .install(|| count(CALLS, 1, scope));
        }
        "scope-of-1000" => one().install(|| {
            count(SUMS, 1_000, || {
                trefoil::scope(|s| {
                    for i in 0..1_000_u64 {
                        s.spawn(move || black_box(i));
                    }
                });
            });
        }),
        "scope-of-1000-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let scope = || {
                rayon::scope(|s| {
                    for i in 0..1_000_u64 {
                        s.spawn(move |_| _ = black_box(i));
                    }
                })
            };
            rayon
                .expect("rayon has threads")
                .install(|| count(SUMS, 1_000, scope));
        }
        "iter-sum-of-100" => one().install(|| {
            use trefoil::prelude::*;
            count(CALLS, 1, || {
                black_box(black_box(&items[..100]).par_iter().sum::<u32>());
            });
        }),
        "iter-sum-of-100-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            rayon.expect("rayon has threads").install(|| {
                use rayon::prelude::*;
                count(CALLS, 1, || {
                    black_box(black_box(&items[..100]).par_iter().sum::<u32>());
                });
            });
        }
        "iter-any" => one().install(|| {
            use trefoil::prelude::*;
            count(1, ITEMS, || {
                black_box(black_box(items).par_iter().any(|x| *x == u32::MAX));
            });
        }),
        "iter-any-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            rayon.expect("rayon has threads").install(|| {
                use rayon::prelude::*;
                count(1, ITEMS, || {
                    black_box(black_box(items).par_iter().any(|x| *x == u32::MAX));
                });
            });
        }
        "map-sequential" => count(1, ITEMS, || {
            drop(black_box(items.iter().map(plus_one).collect::<Vec<_>>()));
        }),
        "map-1-worker" => {
            let pool = one();
            pool.install(|| count(1, ITEMS, || drop(black_box(pool.map(items, plus_one)))));
        }
        "map-rayon" => {
            let rayon = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            rayon.expect("rayon has threads").install(|| {
                use rayon::prelude::*;
                let map = || items.par_iter().map(plus_one).collect::<Vec<_>>();
                count(1, ITEMS, || drop(black_box(map())));
            });
        }
        "region-map-of-2" => {
            let pool = one();
            let _busy = Busy::worker(&pool);
            count(CALLS, 1, || {
                drop(black_box(pool.map(&items[..2], plus_one)))
            });
        }
        "region-join" => {
            let pool = one();
            let _busy = Busy::worker(&pool);
            count(CALLS, 1, || {
                black_box(pool.join(|| black_box(1), || black_box(2)));
            });
        }
        other => panic!("no operation {other}"),
    }
}
