//! `join`: in cache, out of cache, in fib, and over a long leaf.

use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use trefoil::ThreadPool;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit, clock};
use trefoil_benches::work::{self, Node, nodes};

#[cfg(feature = "forte")]
use crate::peers::on_forte;
use crate::peers::{self, by_method, on_chili, on_rayon, on_trefoil};

/// Of the small tree.
const LAYERS: u32 = 10;

/// The tree that fits into the cache; the pool is entered once, outside the measurement.
pub fn small(bench: &mut Bench) {
    let n = bench.pick(1, 1_000, 2_000);
    let rounds = bench.pick(1, 9, 31);
    let tree = &Node::tree(LAYERS);
    let all = nodes(LAYERS);
    for workers in [1, 2] {
        let pool = peers::trefoil(workers);
        let mut entries = vec![
            Entry::inside(Kind::Ours, "trefoil", n, all, |n| {
                pool.install(|| clock(n, || check(on_trefoil::left((), black_box(tree)))))
            }),
            Entry::inside(Kind::OursToo, "trefoil, pool.join", n, all, |n| {
                pool.install(|| clock(n, || check(by_method::left(pool, black_box(tree)))))
            }),
            Entry::inside(Kind::Peer, "rayon", n, all, |n| {
                let rayon = peers::rayon(workers);
                rayon.install(|| clock(n, || check(on_rayon::left((), black_box(tree)))))
            }),
            Entry::inside(Kind::Peer, "chili", n, all, |n| {
                let scope = &mut peers::chili(workers).scope();
                clock(n, || check(on_chili::left(scope, black_box(tree))))
            }),
        ];
        #[cfg(feature = "forte")]
        entries.push(Entry::inside(Kind::Peer, "forte", n, all, |n| {
            peers::forte(workers - 1)
                .with_worker(|worker| clock(n, || check(on_forte::left(worker, black_box(tree)))))
        }));
        entries.push(Entry::inside(Kind::Sequential, "sequential", n, all, |n| {
            clock(n, || check(work::sum_left(black_box(tree))))
        }));
        let measured = bench.measure(rounds, entries);
        let name = format!("`join`, tree of 1,023 in cache, {}, per node", of(workers));
        bench.report(
            Row::new(name, Unit::Ns, &[Goal::Over(1.2), Goal::Ahead]).on("cost-threads", 0.0),
            &measured,
        );
    }

    // The pool entered, from outside, for each sum.
    let pool = peers::trefoil(2);
    let n = bench.pick(1, 200, 500);
    let mut entries = vec![
        Entry::inside(Kind::Ours, "trefoil", n, all, |n| {
            clock(n, || {
                let (left, right) = (tree.left.as_deref(), tree.right.as_deref());
                let half = |node: Option<&Node>| on_trefoil::left((), black_box(node).unwrap());
                let (left, right) = pool.join(|| half(left), || half(right));
                check(tree.value + left + right);
            })
        }),
        Entry::inside(Kind::Peer, "rayon", n, all, |n| {
            let rayon = peers::rayon(2);
            clock(n, || {
                check(rayon.install(|| on_rayon::left((), black_box(tree))));
            })
        }),
        Entry::inside(Kind::Peer, "chili", n, all, |n| {
            let chili = peers::chili(2);
            clock(n, || {
                check(on_chili::left(&mut chili.scope(), black_box(tree)));
            })
        }),
    ];
    #[cfg(feature = "forte")]
    entries.push(Entry::inside(Kind::Peer, "forte", n, all, |n| {
        clock(n, || {
            let sum = peers::forte(1).with_worker(|w| on_forte::left(w, black_box(tree)));
            check(sum);
        })
    }));
    entries.push(Entry::inside(Kind::Sequential, "sequential", n, all, |n| {
        clock(n, || check(work::sum_left(black_box(tree))))
    }));
    let measured = bench.measure(rounds, entries);
    bench.report(
        Row::new(
            "the same, the pool entered for each sum, 2 workers",
            Unit::Ns,
            &[Goal::Ahead],
        ),
        &measured,
    );
}

/// By joins down to this many.
fn sum_of_ours(numbers: &[u64], leaf: usize) -> u64 {
    if numbers.len() <= leaf {
        return sum(numbers);
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = trefoil::join(|| sum_of_ours(left, leaf), || sum_of_ours(right, leaf));
    left + right
}

fn sum_of_rayons(numbers: &[u64], leaf: usize) -> u64 {
    if numbers.len() <= leaf {
        return sum(numbers);
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = rayon::join(|| sum_of_rayons(left, leaf), || sum_of_rayons(right, leaf));
    left + right
}

fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().map(|number| black_box(*number)).sum()
}

/// Regions that are hardly worth a second thread: inside of the pool, and from a thread that may
/// not help.
pub fn tiny(bench: &mut Bench) {
    let rounds = bench.pick(1, 9, 31);
    for workers in [1, 2] {
        let (pool, rayon) = (peers::trefoil(workers), peers::rayon(workers));
        let n = bench.pick(1, 2_000, 20_000);
        let numbers: &Vec<u64> = &(0..100).collect();
        let entries = vec![
            Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
                pool.install(|| clock(n, || _ = black_box(sum_of_ours(black_box(numbers), 25))))
            }),
            Entry::inside(Kind::Peer, "rayon", n, 1, |n| {
                rayon.install(|| clock(n, || _ = black_box(sum_of_rayons(black_box(numbers), 25))))
            }),
            Entry::inside(Kind::Sequential, "sequential", n, 1, |n| {
                clock(n, || _ = black_box(sum(black_box(numbers))))
            }),
        ];
        let measured = bench.measure(rounds, entries);
        let name = format!("three joins over 100 numbers, inside, {}", of(workers));
        let row = Row::new(name, Unit::Ns, &[Goal::Ahead]).detail(workers == 1);
        bench.report(row, &measured);

        let n = bench.pick(1, 50, 200);
        let numbers: &Vec<u64> = &(0..50_000).collect();
        let entries = vec![
            Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
                clock(n, || {
                    _ = black_box(pool.install(|| sum_of_ours(black_box(numbers), 1_000)))
                })
            }),
            Entry::inside(Kind::Peer, "rayon", n, 1, |n| {
                clock(n, || {
                    _ = black_box(rayon.install(|| sum_of_rayons(black_box(numbers), 1_000)))
                })
            }),
            Entry::inside(Kind::Sequential, "sequential", n, 1, |n| {
                clock(n, || _ = black_box(sum(black_box(numbers))))
            }),
        ];
        let measured = bench.measure(rounds, entries);
        let name = format!(
            "50,000 numbers by joins, installed from outside, {}",
            of(workers)
        );
        let row = Row::new(name, Unit::Us, &[Goal::Ahead]).detail(workers == 1);
        bench.report(row, &measured);
    }
}

/// Tasks of two threads that each wait for one thread of another pool.
pub fn narrow(bench: &mut Bench) {
    let (ours, rayon) = (peers::trefoil(2), peers::rayon(2));
    let (one, one_of_rayons) = (peers::trefoil(1), peers::rayon(1));
    let n = bench.pick(2, 500, 2_000);
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            ours.scope(|s| {
                for i in 0..n {
                    s.spawn(move || one.install(|| black_box(i)));
                }
            });
        }),
        Entry::whole(Kind::Peer, "rayon", n, || {
            rayon.in_place_scope(|s| {
                for i in 0..n {
                    s.spawn(move |_| _ = black_box(one_of_rayons.install(|| black_box(i))));
                }
            });
        }),
    ];
    let measured = bench.measure(bench.rounds(), entries);
    bench.report(
        Row::new(
            "a task that installs in a pool of one",
            Unit::Us,
            &[Goal::Ahead],
        ),
        &measured,
    );
}

/// Every sum is looked at.
fn check(sum: u64) {
    assert_eq!(black_box(sum), nodes(LAYERS));
}

/// The tree that does not fit, with 1 and 2 workers, in both orders.
///
/// The order of a traversal alone makes a factor of three here, and chili runs the second
/// closure first. So a row is an order in which the nodes are visited, not one in which
/// they stand in the program: it holds the others' `join(left, right)` beside chili's
/// `join(right, left)`, or the reverse, and it is judged by the sequential program of
/// its own order. (forte runs the second first in the upper four levels only.)
pub fn large(bench: &mut Bench, layers: u32) {
    // Never freed: the next tree shall lie in fresh memory, in order, as this one does.
    let tree = &*ManuallyDrop::new(Node::tree(layers));
    let all = nodes(layers);
    let repeat = (1_u64 << 20 >> layers).max(1);
    let rounds = match bench.scale {
        _ if layers > 22 => bench.pick(1, 3, 5),
        _ => bench.pick(1, 5, 11),
    };
    let n = repeat * all;
    for workers in [1, 2] {
        let pool = peers::trefoil(workers);
        let rayon = peers::rayon(workers);
        let chili = peers::chili(workers);
        let often = |sum: &mut dyn FnMut() -> u64| {
            for _ in 0..repeat {
                assert_eq!(sum(), all);
            }
        };
        let mut entries = vec![
            Entry::whole(Kind::Ours, "trefoil (left, right)", n, || {
                pool.install(|| often(&mut || on_trefoil::left((), black_box(tree))));
            }),
            Entry::whole(Kind::Ours, "trefoil (right, left)", n, || {
                pool.install(|| often(&mut || on_trefoil::right((), black_box(tree))));
            }),
            Entry::whole(Kind::Peer, "rayon (left, right)", n, || {
                rayon.install(|| often(&mut || on_rayon::left((), black_box(tree))));
            }),
            Entry::whole(Kind::Peer, "rayon (right, left)", n, || {
                rayon.install(|| often(&mut || on_rayon::right((), black_box(tree))));
            }),
            Entry::whole(Kind::Peer, "chili (left, right)", n, || {
                let scope = &mut chili.scope();
                often(&mut || on_chili::left(scope, black_box(tree)));
            }),
            Entry::whole(Kind::Peer, "chili (right, left)", n, || {
                let scope = &mut chili.scope();
                often(&mut || on_chili::right(scope, black_box(tree)));
            }),
        ];
        #[cfg(feature = "forte")]
        {
            let forte = peers::forte(workers - 1);
            entries.push(Entry::whole(Kind::Peer, "forte (left, right)", n, || {
                forte.with_worker(|w| often(&mut || on_forte::left(w, black_box(tree))));
            }));
            entries.push(Entry::whole(Kind::Peer, "forte (right, left)", n, || {
                forte.with_worker(|w| often(&mut || on_forte::right(w, black_box(tree))));
            }));
        }
        const SEQUENTIAL: [&str; 2] = ["sequential, left first", "sequential, right first"];
        entries.push(Entry::whole(Kind::Sequential, SEQUENTIAL[0], n, || {
            often(&mut || work::sum_left(black_box(tree)));
        }));
        entries.push(Entry::whole(Kind::Sequential, SEQUENTIAL[1], n, || {
            often(&mut || work::sum_right(black_box(tree)));
        }));
        let measured = bench.measure(rounds, entries);
        let goals: &[Goal] = if workers == 1 {
            &[Goal::Ahead]
        } else {
            &[Goal::Ahead, Goal::Times(1.0)]
        };
        for (first, calls) in [
            ("left", ["(left, right)", "(right, left)"]),
            ("right", ["(right, left)", "(left, right)"]),
        ] {
            let of_order = measured.select(|name, kind| {
                let second_first = name.starts_with("chili");
                match kind {
                    Kind::Sequential if name.contains(first) => Some(kind),
                    Kind::Sequential => Some(Kind::OtherOrder),
                    _ => name
                        .ends_with(calls[usize::from(second_first)])
                        .then_some(kind),
                }
            });
            let name = format!(
                "tree of 2^{layers}, {first} half first, {}, per node",
                of(workers)
            );
            let detail = workers == 1 || ![16, 24].contains(&layers);
            let row = Row::new(name, Unit::Ns, goals).detail(detail);
            bench.report(row, &of_order);
        }
    }
}

/// Nothing but joins; per join.
pub fn fib(bench: &mut Bench) {
    let depth = bench.pick(12, 30, 32);
    let joins = work::fib_joins(depth);
    let expected = work::fib(depth);
    for workers in [1, 2] {
        let mut entries = vec![
            Entry::whole(Kind::Ours, "trefoil", joins, || {
                let fib = || on_trefoil::fib((), black_box(depth));
                assert_eq!(peers::trefoil(workers).install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "rayon", joins, || {
                let fib = || on_rayon::fib((), black_box(depth));
                assert_eq!(peers::rayon(workers).install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "chili", joins, || {
                let scope = &mut peers::chili(workers).scope();
                assert_eq!(on_chili::fib(scope, black_box(depth)), expected);
            }),
        ];
        #[cfg(feature = "forte")]
        entries.push(Entry::whole(Kind::Peer, "forte", joins, || {
            let fib = |w: &forte::Worker| on_forte::fib(w, black_box(depth));
            assert_eq!(peers::forte(workers - 1).with_worker(fib), expected);
        }));
        entries.push(Entry::whole(Kind::Sequential, "sequential", joins, || {
            assert_eq!(work::fib(black_box(depth)), expected);
        }));
        let two = "sequential, two calls";
        entries.push(Entry::whole(Kind::OtherOrder, two, joins, || {
            assert_eq!(work::fib_two_calls(black_box(depth)), expected);
        }));
        let measured = bench.measure(bench.few_rounds(), entries);
        let name = format!("fib({depth}), {}, per join", of(workers));
        let goals: &[Goal] = if workers == 1 {
            &[Goal::AtMost(2.0), Goal::Ahead]
        } else {
            &[Goal::AtMost(1.2), Goal::Ahead]
        };
        bench.report(Row::new(name, Unit::Ns, goals), &measured);
    }
}

/// Eight long halves are queued, one above the other, while their owner is inside a ninth
/// that is as long: nine workers, so all could run at once. The leaves sleep, so it
/// takes no nine processors to see it. The deep half is whichever the peer runs first.
pub fn ladder(bench: &mut Bench) {
    const RUNGS: u32 = 8;
    let long = Duration::from_millis(bench.pick(1, 10, 10));
    let leaf = move || std::thread::sleep(long);

    fn first<L: Fn() + Sync>(rungs: u32, leaf: &L, join: &JoinFirst<'_>) {
        if rungs == 0 {
            return leaf();
        }
        join(&|| first(rungs - 1, leaf, join), leaf);
    }
    type JoinFirst<'a> = dyn Fn(&(dyn Fn() + Sync), &(dyn Fn() + Sync)) + Sync + 'a;

    fn on_chili(scope: &mut chili::Scope<'_>, rungs: u32, leaf: &(dyn Fn() + Sync)) {
        if rungs == 0 {
            return leaf();
        }
        scope.join(|_| leaf(), |s| on_chili(s, rungs - 1, leaf));
    }

    #[cfg(feature = "forte")]
    fn on_forte(worker: &forte::Worker, rungs: u32, leaf: &(dyn Fn() + Sync)) {
        if rungs == 0 {
            return leaf();
        }
        worker.join(|_| leaf(), |w| on_forte(w, rungs - 1, leaf));
    }

    let threads = RUNGS as usize + 1;
    let pool = ThreadPool::with_threads(threads);
    let rayon = peers::new_rayon(threads);
    let chili = peers::new_chili(threads);
    let mut entries = vec![
        Entry::whole(Kind::Ours, "trefoil", 1, || {
            pool.install(|| {
                first(RUNGS, &leaf, &|a, b| {
                    trefoil::join(a, b);
                });
            });
        }),
        Entry::whole(Kind::Peer, "rayon", 1, || {
            rayon.install(|| {
                first(RUNGS, &leaf, &|a, b| {
                    rayon::join(a, b);
                });
            });
        }),
        Entry::whole(Kind::Peer, "chili", 1, || {
            on_chili(&mut chili.scope(), RUNGS, &leaf);
        }),
    ];
    #[cfg(feature = "forte")]
    entries.push({
        static EIGHT: forte::ThreadPool = forte::ThreadPool::new();
        EIGHT.resize_to(RUNGS as usize);
        Entry::whole(Kind::Peer, "forte", 1, || {
            EIGHT.with_worker(|worker| on_forte(worker, RUNGS, &leaf));
        })
    });
    entries.push(Entry::samples(Kind::Floor, "the long leaf", |samples| {
        let start = Instant::now();
        leaf();
        samples.push(start.elapsed().as_nanos() as f64);
    }));
    let measured = bench.measure(bench.few_rounds(), entries);
    bench.report(
        Row::new(
            "ladder: 8 long halves queued under a long leaf, 9 workers",
            Unit::Ms,
            &[Goal::Times(1.45), Goal::Ahead],
        ),
        &measured,
    );
}

pub fn of(workers: usize) -> &'static str {
    if workers == 1 {
        "1 worker"
    } else {
        "2 workers"
    }
}

/// More workers than processors, as in a container with a small share of a large machine: what
/// threads that have no processor cost those that have one.
pub fn crowded(bench: &mut Bench) {
    let depth = bench.pick(12, 28, 30);
    let joins = work::fib_joins(depth);
    let expected = work::fib(depth);
    for workers in [1, 2, 4, 8, 16] {
        let ours = ThreadPool::with_threads(workers);
        let rayon = peers::new_rayon(workers);
        let chili = peers::new_chili(workers);
        let entries = vec![
            Entry::whole(Kind::Ours, "trefoil", joins, || {
                let fib = || on_trefoil::fib((), black_box(depth));
                assert_eq!(ours.install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "rayon", joins, || {
                let fib = || on_rayon::fib((), black_box(depth));
                assert_eq!(rayon.install(fib), expected);
            }),
            Entry::whole(Kind::Peer, "chili", joins, || {
                assert_eq!(
                    on_chili::fib(&mut chili.scope(), black_box(depth)),
                    expected
                );
            }),
            Entry::whole(Kind::Sequential, "sequential", joins, || {
                assert_eq!(work::fib(black_box(depth)), expected);
            }),
        ];
        let measured = bench.measure(bench.few_rounds(), entries);
        let name = format!("contention: fib({depth}), workers: {workers}, per join");
        let row = Row::new(name, Unit::Ns, &[Goal::Ahead]).detail(true);
        bench.report(row, &measured);
    }
}
