//! A million spawns: kept and joined, let go, and in a scope.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "forte")]
use std::sync::mpsc::RecvTimeoutError;
use std::thread::Thread;
#[cfg(feature = "forte")]
use std::time::Duration;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::peers;

#[cfg(feature = "forte")]
const SECOND: Duration = Duration::from_secs(1);

fn many(bench: &Bench) -> u64 {
    bench.pick(1_000, 100_000, 1_000_000)
}

/// The least that a closure in a queue can cost.
fn floor<'a>(n: u64) -> Entry<'a> {
    Entry::whole(Kind::Floor, "boxes through a VecDeque", n, move || {
        let mut queue: VecDeque<Box<dyn FnOnce() -> u64>> = VecDeque::new();
        (0..n).for_each(|i| queue.push_back(Box::new(move || black_box(i))));
        while let Some(closure) = queue.pop_front() {
            black_box(closure());
        }
    })
}

/// Runs `storm`, and gives forte an empty job each second meanwhile: its workers sometimes sleep on
/// work that was spawned from outside (1.0.0-beta.2: once in 2,800 storms of a thousand), until
/// there is another job.
#[cfg(feature = "forte")]
fn poked(forte: &'static forte::ThreadPool, storm: impl FnOnce()) {
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_over.recv_timeout(SECOND) == Err(RecvTimeoutError::Timeout) {
                forte.spawn(|_: &forte::Worker| ());
            }
        });
        storm();
        drop(over);
    });
}

/// From outside, all handles kept, then all joined.
pub fn handles(bench: &mut Bench) {
    let n = many(bench);
    let mut entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            let pool = peers::trefoil(2);
            let tasks: Vec<_> = (0..n).map(|i| pool.spawn(move || i)).collect();
            for (i, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.join().unwrap(), i as u64);
            }
        }),
        Entry::whole(Kind::Peer, "rayon, a oneshot each", n, || {
            let rayon = peers::rayon(2);
            let spawn = |i| {
                let (sender, receiver) = futures::channel::oneshot::channel();
                rayon.spawn(move || sender.send(i).unwrap());
                receiver
            };
            let tasks: Vec<_> = (0..n).map(spawn).collect();
            smol::future::block_on(async {
                for (i, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), i as u64);
                }
            });
        }),
        Entry::whole(Kind::Peer, "tokio", n, || {
            let tokio = peers::tokio();
            let tasks: Vec<_> = (0..n).map(|i| tokio.spawn(async move { i })).collect();
            tokio.block_on(async {
                for (i, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), i as u64);
                }
            });
        }),
        Entry::whole(Kind::Peer, "smol", n, || {
            let smol = peers::smol();
            let tasks: Vec<_> = (0..n).map(|i| smol.spawn(async move { i })).collect();
            smol::future::block_on(async {
                for (i, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await, i as u64);
                }
            });
        }),
    ];
    #[cfg(feature = "forte")]
    entries.push(Entry::whole(Kind::Peer, "forte", n, || {
        let forte = peers::forte(2);
        poked(forte, || {
            let tasks: Vec<_> = (0..n).map(|i| forte.spawn(async move { i })).collect();
            smol::future::block_on(async {
                for (i, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await, i as u64);
                }
            });
        });
    }));
    entries.push(floor(n));
    let measured = bench.measure(bench.few_rounds(), entries);
    let name = format!("{} spawns from outside, a handle each", in_words(n));
    let goals = &[Goal::AtMost(100.0), Goal::Ahead];
    let row = Row::new(name, Unit::Ns, goals).on("cost-threads", 0.0);
    bench.report(row, &measured);
}

/// Counts down to the end of jobs without handles.
struct Countdown(AtomicU64, Thread);

impl Countdown {
    fn new(n: u64) -> Arc<Self> {
        Arc::new(Self(n.into(), std::thread::current()))
    }

    fn one(&self) {
        let waiter = self.1.clone();
        if self.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            waiter.unpark();
        }
    }

    fn wait(&self) {
        while self.0.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
    }
}

/// From outside, no handles; the end is counted down to.
pub fn detached(bench: &mut Bench) {
    let n = many(bench);
    let counted = |spawn: &dyn Fn(Arc<Countdown>)| {
        let left = Countdown::new(n);
        (0..n).for_each(|_| spawn(Arc::clone(&left)));
        left.wait();
    };
    let mut entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            let pool = peers::trefoil(2);
            counted(&|left| pool.spawn(move || left.one()).detach());
        }),
        Entry::whole(Kind::Peer, "rayon", n, || {
            let rayon = peers::rayon(2);
            counted(&|left| rayon.spawn(move || left.one()));
        }),
        Entry::whole(Kind::Peer, "tokio", n, || {
            let tokio = peers::tokio();
            counted(&|left| drop(tokio.spawn(async move { left.one() })));
        }),
        Entry::whole(Kind::Peer, "smol", n, || {
            let smol = peers::smol();
            counted(&|left| smol.spawn(async move { left.one() }).detach());
        }),
    ];
    #[cfg(feature = "forte")]
    entries.push(Entry::whole(Kind::Peer, "forte", n, || {
        let forte = peers::forte(2);
        poked(forte, || {
            counted(&|left| forte.spawn(move |_: &forte::Worker| left.one()));
        });
    }));
    entries.push(floor(n));
    let measured = bench.measure(bench.few_rounds(), entries);
    let name = format!("{} spawns from outside, no handles", in_words(n));
    bench.report(Row::new(name, Unit::Ns, &[Goal::Ahead]), &measured);
}

fn in_words(n: u64) -> String {
    match n {
        1_000_000 => "10^6".to_owned(),
        100_000 => "10^5".to_owned(),
        n => n.to_string(),
    }
}

/// A scope of many, from inside the pool and from outside.
pub fn scopes(bench: &mut Bench) {
    let n = many(bench);
    // A pool that has ended leaves everything to the thread that has the scope.
    let ended = trefoil::ThreadPool::with_threads(1);
    ended.shutdown(trefoil::Shutdown::Wait);
    for from_inside in [false, true] {
        let scope = |pool: &trefoil::ThreadPool| {
            pool.scope(|s| {
                for i in 0..n {
                    s.spawn(move || black_box(i));
                }
            });
        };
        let ours = || scope(peers::trefoil(2));
        let rayons = || {
            peers::rayon(2).in_place_scope(|s| {
                for i in 0..n {
                    s.spawn(move |_| {
                        black_box(i);
                    });
                }
            });
        };
        let mut entries = vec![
            Entry::whole(Kind::Ours, "trefoil", n, || match from_inside {
                true => peers::trefoil(2).install(ours),
                false => ours(),
            }),
            Entry::whole(Kind::Peer, "rayon", n, || match from_inside {
                true => peers::rayon(2).install(rayons),
                false => rayons(),
            }),
        ];
        #[cfg(feature = "forte")]
        entries.push(Entry::whole(Kind::Peer, "forte", n, || {
            // Inside, the caller is one of the two; outside, it comes to two threads.
            let forte = peers::forte(if from_inside { 1 } else { 2 });
            forte.scope(|s| {
                for i in 0..n {
                    s.spawn(move |_: &forte::Worker| {
                        black_box(i);
                    });
                }
            });
        }));
        entries.push(floor(n));
        if !from_inside {
            let alone = || scope(&ended);
            let name = "trefoil, the spawning thread alone";
            entries.push(Entry::whole(Kind::Sequential, name, n, alone));
        }
        let measured = bench.measure(bench.few_rounds(), entries);
        let (place, goals): (_, &[Goal]) = if from_inside {
            ("inside", &[Goal::Ahead])
        } else {
            ("from outside", &[Goal::Times(1.2), Goal::Ahead])
        };
        let name = format!("a scope of {}, {place}", in_words(n));
        let row = Row::new(name, Unit::Ns, goals);
        bench.report(row.on("cost-threads", 0.0), &measured);
    }
}

/// A tree of tasks of one scope, each of which spawns two: if a worker runs its own newest task
/// first, it needs little memory.
pub fn trees(bench: &mut Bench) {
    fn on_trefoil<'s>(s: &'s trefoil::Scope<'s, '_>, depth: usize) {
        for _ in 0..if depth > 0 { 2 } else { 0 } {
            s.spawn(move || on_trefoil(s, depth - 1));
        }
    }
    fn on_rayon<'s>(s: &rayon::Scope<'s>, depth: usize) {
        for _ in 0..if depth > 0 { 2 } else { 0 } {
            s.spawn(move |s| on_rayon(s, depth - 1));
        }
    }
    let depth = bench.pick(4, 14, 18);
    let n = (2 << depth) - 2;
    let entries = vec![
        Entry::whole(Kind::Ours, "trefoil", n, || {
            peers::trefoil(2).install(|| trefoil::scope(|s| on_trefoil(s, depth)));
        }),
        Entry::whole(Kind::Peer, "rayon", n, || {
            peers::rayon(2).install(|| rayon::scope(|s| on_rayon(s, depth)));
        }),
    ];
    let measured = bench.measure(bench.few_rounds(), entries);
    let name = format!("a tree of a scope's tasks, 2^{depth} leaves");
    bench.report(Row::new(name, Unit::Ns, &[]), &measured);
}
