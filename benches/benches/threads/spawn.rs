//! `spawn` and wait: one by one, from inside the pool and from outside.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Instant;

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit, clock};

use crate::peers;
use crate::region::after_idle;

/// A result and the thread that waits for it: what rayon's users write by hand.
pub struct Oneshot<T>(Mutex<Option<T>>, AtomicBool, Thread);

impl<T> Oneshot<T> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(
            Mutex::new(None),
            AtomicBool::new(false),
            std::thread::current(),
        ))
    }

    pub fn set(&self, value: T) {
        *self.0.lock().unwrap() = Some(value);
        let waiter = self.2.clone();
        self.1.store(true, Ordering::Release);
        waiter.unpark();
    }

    pub fn wait(&self) -> T {
        while !self.1.load(Ordering::Acquire) {
            std::thread::park();
        }
        self.0.lock().unwrap().take().unwrap()
    }
}

/// A thread that does what it is handed, and nothing else: the floor.
pub struct ParkedThread {
    shared: Arc<Handed>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Handed {
    /// 0 idle, 1 asked, 2 answered, 3 ends.
    state: std::sync::atomic::AtomicU32,
    caller: Mutex<Option<Thread>>,
    work: fn(),
}

impl ParkedThread {
    pub fn new(work: fn()) -> Self {
        let shared = Arc::new(Handed {
            state: 0.into(),
            caller: Mutex::new(None),
            work,
        });
        let handed = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            loop {
                match handed.state.load(Ordering::Acquire) {
                    1 => {
                        (handed.work)();
                        let caller = handed.caller.lock().unwrap().take().unwrap();
                        handed.state.store(2, Ordering::Release);
                        caller.unpark();
                    }
                    3 => return,
                    _ => std::thread::park(),
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    pub fn call(&self) {
        *self.shared.caller.lock().unwrap() = Some(std::thread::current());
        self.shared.state.store(1, Ordering::Release);
        self.thread.as_ref().unwrap().thread().unpark();
        while self.shared.state.load(Ordering::Acquire) != 2 {
            std::thread::park();
        }
    }
}

impl Drop for ParkedThread {
    fn drop(&mut self) {
        self.shared.state.store(3, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Spawned and awaited one by one by a worker.
pub fn inside(bench: &mut Bench) {
    let n = bench.pick(10, 10_000, 50_000);
    #[cfg_attr(not(feature = "forte"), allow(unused_mut))]
    let mut entries = vec![
        Entry::inside(Kind::Ours, "trefoil", n, 1, |n| {
            let pool = peers::trefoil(2);
            pool.install(|| {
                clock(n, || {
                    let i = black_box(1);
                    black_box(pool.spawn(move || i).join().unwrap());
                })
            })
        }),
        Entry::inside(Kind::OursToo, "trefoil, spawn_blocking", n, 1, |n| {
            peers::trefoil(2).install(|| {
                clock(n, || {
                    let i = black_box(1);
                    let task = trefoil::spawn_blocking(move || i);
                    black_box(task.join().unwrap());
                })
            })
        }),
        Entry::inside(Kind::OursToo, "trefoil, scope for each", n, 1, |n| {
            peers::trefoil(2).install(|| {
                clock(n, || {
                    let mut result = 0;
                    trefoil::scope(|s| {
                        s.spawn(|| result = black_box(1));
                    });
                    black_box(result);
                })
            })
        }),
        Entry::inside(Kind::Peer, "rayon, scope for each", n, 1, |n| {
            peers::rayon(2).install(|| {
                clock(n, || {
                    let mut result = 0;
                    rayon::scope(|s| s.spawn(|_| result = black_box(1)));
                    black_box(result);
                })
            })
        }),
        Entry::inside(Kind::Peer, "tokio", n, 1, |n| {
            let task = async move {
                for _ in 0..n.div_ceil(10) {
                    let i = black_box(1);
                    black_box(tokio::spawn(async move { i }).await.unwrap());
                }
                let start = Instant::now();
                for _ in 0..n {
                    let i = black_box(1);
                    black_box(tokio::spawn(async move { i }).await.unwrap());
                }
                start.elapsed()
            };
            peers::tokio().block_on(peers::tokio().spawn(task)).unwrap()
        }),
        Entry::inside(Kind::Peer, "smol", n, 1, |n| {
            let executor = peers::smol();
            smol::future::block_on(executor.spawn(async move {
                for _ in 0..n.div_ceil(10) {
                    let i = black_box(1);
                    black_box(executor.spawn(async move { i }).await);
                }
                let start = Instant::now();
                for _ in 0..n {
                    let i = black_box(1);
                    black_box(executor.spawn(async move { i }).await);
                }
                start.elapsed()
            }))
        }),
    ];
    #[cfg(feature = "forte")]
    entries.push(Entry::inside(Kind::Peer, "forte", n, 1, |n| {
        peers::forte(1).with_worker(|worker| {
            clock(n, || {
                let i = black_box(1);
                let task = worker.spawn(async move { i });
                black_box(worker.block_on(task));
            })
        })
    }));
    #[cfg(feature = "forte")]
    entries.push(Entry::inside(
        Kind::Peer,
        "forte, scope for each",
        n,
        1,
        |n| {
            peers::forte(1).with_worker(|worker| {
                clock(n, || {
                    let mut result = 0;
                    worker.scope(|s| s.spawn(|_: &forte::Worker| result = black_box(1)));
                    black_box(result);
                })
            })
        },
    ));
    let measured = bench.measure(bench.rounds(), entries);
    bench.report(
        Row::new(
            "`spawn` + wait one by one, inside",
            Unit::Ns,
            &[Goal::AtMost(60.0), Goal::Ahead],
        )
        .on("cost-threads", 0.0),
        &measured,
    );
}

/// What every way of running one job from outside looks like; also for the latency rows.
pub type Call<'a> = (Kind, &'static str, Box<dyn Fn() + Send + Sync + 'a>);

/// Hands `job` to each pool and waits for it.
pub fn calls<'a>(job: fn()) -> Vec<Call<'a>> {
    let parked = Mutex::new(ParkedThread::new(job));
    let mut calls: Vec<Call<'a>> = vec![
        (
            Kind::Ours,
            "trefoil",
            Box::new(move || peers::trefoil(2).spawn(job).join().unwrap()),
        ),
        (
            Kind::OursToo,
            "trefoil, install",
            Box::new(move || peers::trefoil(2).install(job)),
        ),
        (
            Kind::Peer,
            "rayon, install",
            Box::new(move || peers::rayon(2).install(job)),
        ),
        (
            Kind::Peer,
            "rayon, a oneshot",
            Box::new(move || {
                let here = Oneshot::new();
                let oneshot = Arc::clone(&here);
                peers::rayon(2).spawn(move || {
                    job();
                    oneshot.set(());
                });
                here.wait();
            }),
        ),
        (
            Kind::Peer,
            "tokio",
            Box::new(move || {
                let task = peers::tokio().spawn(async move { job() });
                peers::tokio().block_on(task).unwrap();
            }),
        ),
        (
            Kind::Peer,
            "smol",
            Box::new(move || smol::future::block_on(peers::smol().spawn(async move { job() }))),
        ),
    ];
    // A caller that is not enrolled with forte 1.0.0-beta.2 waits for ever about once in a dozen
    // runs: a wake-up is lost.
    #[cfg(feature = "forte")]
    calls.push((
        Kind::Peer,
        "forte, the caller enrolled",
        Box::new(move || {
            peers::forte(2).with_worker(|worker| {
                let task = worker.spawn(async move { job() });
                worker.block_on(task);
            });
        }),
    ));
    calls.push((
        Kind::Floor,
        "a parked thread",
        Box::new(move || parked.lock().unwrap().call()),
    ));
    calls
}

/// Spawned and awaited one by one by a thread outside, hot.
pub fn outside(bench: &mut Bench) {
    let n = bench.pick(10, 500, 2_000);
    let calls = calls(nothing);
    let entries = calls
        .into_iter()
        .map(|(kind, name, call)| Entry::hot(kind, name, n, move |n| (0..n).for_each(|_| call())));
    let measured = bench.measure(bench.rounds(), entries.collect());
    bench.report(
        Row::new(
            "`spawn` + wait one by one, outside, hot",
            Unit::Ns,
            &[Goal::AtMost(1_000.0), Goal::Ahead],
        )
        .on("cost-threads", 0.0),
        &measured,
    );
}

fn nothing() {
    black_box(1);
}

/// A job for a pool that sleeps.
pub fn parked(bench: &mut Bench) {
    let each_round = bench.pick(1, 20, 40);
    let measured = after_idle(bench, calls(nothing), each_round);
    let name = "a job for a parked pool";
    let goals = &[Goal::AtMost(6_000.0), Goal::Ahead];
    let row = Row::new(name, Unit::Us, goals).on("latency-threads", 0.0);
    bench.report(row, &measured);
    bench.report(
        Row::p99(format!("{name}: p99"), Unit::Us).detail(true),
        &measured,
    );
}

/// Jobs one after the other, each a sample.
pub fn back_to_back(bench: &mut Bench) {
    let n = bench.pick(1, 200, 1_000);
    let entries = calls(nothing).into_iter().map(|(kind, name, call)| {
        Entry::samples(kind, name, move |samples| {
            (0..n / 10).for_each(|_| call());
            for _ in 0..n {
                let start = Instant::now();
                call();
                samples.push(start.elapsed().as_nanos() as f64);
            }
        })
    });
    let measured = bench.measure(bench.rounds(), entries.collect());
    let name = "jobs back to back";
    let goals = &[Goal::AtMost(400.0), Goal::Ahead];
    bench.report(Row::new(name, Unit::Us, goals), &measured);
    bench.report(Row::p99(format!("{name}: p99"), Unit::Us), &measured);
}
