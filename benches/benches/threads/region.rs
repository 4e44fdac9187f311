//! Small regions: a `map` of two items, hot and after the pool has gone to sleep.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use orx_parallel::{Par, Parallelizable};
use rayon::prelude::*;
use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, SETTLE, Unit};
use trefoil_benches::work::spin;

use crate::peers;
use crate::spawn::Call;

/// After so long, every pool sleeps.
pub const IDLE: Duration = Duration::from_millis(2);

/// After so long, the processors sleep deeply, too.
const LONG_IDLE: Duration = Duration::from_millis(20);

/// No sample of regions that may take very long takes longer.
#[cfg(feature = "regions")]
const LONG_ENOUGH: Duration = Duration::from_millis(200);

/// The second half of a region, on a thread that spins while it waits: the best that this
/// machine could give. It sleeps soon, so as not to trouble the others.
struct Helper {
    state: Arc<AtomicU32>,
    thread: Thread,
}

const WAITING: u32 = 0;
const ASKED: u32 = 1;
const DONE: u32 = 2;
const OVER: u32 = 3;

impl Helper {
    fn new(item: impl Fn(&u64) -> u64 + Send + 'static) -> Self {
        let state = Arc::new(AtomicU32::new(WAITING));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let mut since = Instant::now();
            loop {
                match shared.load(Ordering::Acquire) {
                    ASKED => {
                        black_box(item(&2));
                        shared.store(DONE, Ordering::Release);
                        since = Instant::now();
                    }
                    OVER => return,
                    _ if since.elapsed() < SETTLE / 2 => std::hint::spin_loop(),
                    _ => {
                        std::thread::park();
                        since = Instant::now();
                    }
                }
            }
        });
        let thread = thread.thread().clone();
        Self { state, thread }
    }

    fn begin(&self) {
        self.state.store(ASKED, Ordering::Release);
        self.thread.unpark();
    }

    fn end(&self) {
        while self.state.load(Ordering::Acquire) != DONE {
            std::hint::spin_loop();
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.state.store(OVER, Ordering::Release);
        self.thread.unpark();
    }
}

/// All regions of two items, called from outside. chili's scope, which entering its pool
/// is, is made for each.
fn regions(us: f64) -> Vec<Call<'static>> {
    let item = move |_: &u64| {
        if us == 0.0 {
            black_box(1)
        } else {
            black_box(spin(us))
        }
    };
    let items = [1_u64, 2];
    let mut regions: Vec<Call<'static>> = vec![
        (
            Kind::Ours,
            "trefoil",
            Box::new(move || drop(black_box(peers::trefoil(2).map(&items, item)))),
        ),
        (
            Kind::OursToo,
            "trefoil, join",
            Box::new(move || {
                black_box(peers::trefoil(2).join(|| item(&1), || item(&2)));
            }),
        ),
        (
            Kind::Peer,
            "rayon",
            Box::new(move || {
                let map = || items.par_iter().map(item).collect::<Vec<_>>();
                drop(black_box(peers::rayon(2).install(map)));
            }),
        ),
        (
            Kind::Peer,
            "chili, join",
            Box::new(move || {
                let scope = &mut peers::chili(2).scope();
                black_box(scope.join(|_| item(&1), |_| item(&2)));
            }),
        ),
        (
            Kind::Peer,
            "orx-parallel",
            Box::new(move || {
                let map = (&items[..]).par().num_threads(2).map(item);
                drop(black_box(map.collect::<Vec<_>>()));
            }),
        ),
        (
            Kind::Peer,
            "std::thread::scope",
            Box::new(move || {
                std::thread::scope(|s| {
                    let other = s.spawn(|| item(&2));
                    black_box((item(&1), other.join().unwrap()));
                });
            }),
        ),
    ];
    #[cfg(feature = "forte")]
    regions.push((
        Kind::Peer,
        "forte, join",
        Box::new(move || {
            black_box(peers::forte(1).join(|_| item(&1), |_| item(&2)));
        }),
    ));
    let helper = Helper::new(item);
    regions.push((
        Kind::Floor,
        "a thread that spins",
        Box::new(move || {
            helper.begin();
            black_box(item(&1));
            helper.end();
        }),
    ));
    regions.push((
        Kind::Sequential,
        "sequential",
        Box::new(move || drop(black_box(items.iter().map(item).collect::<Vec<_>>()))),
    ));
    regions
}

/// One after the other.
pub fn hot(bench: &mut Bench) {
    for (us, name, goals) in [
        (
            0.0,
            "region: `map` of 2 x nothing, hot",
            &[Goal::AtMost(300.0), Goal::Ahead] as &[Goal],
        ),
        (
            20.0,
            "region: `map` of 2 x 20 µs, hot",
            &[Goal::Times(0.58), Goal::Ahead],
        ),
        (
            200.0,
            "region: `map` of 2 x 200 µs, hot",
            &[Goal::Times(0.51), Goal::Ahead],
        ),
    ] {
        let full = if us == 0.0 {
            2_000
        } else {
            (8_000.0 / us) as u64
        };
        let n = bench.pick(1, full / 4, full).max(1);
        let entries = regions(us).into_iter().map(|(kind, name, region)| {
            Entry::hot(kind, name, n, move |n| (0..n).for_each(|_| region()))
        });
        let measured = bench.measure(bench.rounds(), entries.collect());
        bench.report(Row::new(name, Unit::Us, goals), &measured);
    }
}

/// The work of one item: so many dependent multiplications, of about a nanosecond each.
fn multiply(times: u64) {
    let mut x = black_box(times);
    for _ in 0..times {
        x = x.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
    }
    black_box(x);
}

/// `for_each` of as many items as a small simulation has, again and again, as its steps follow one
/// another: what a region itself costs.
pub fn back_to_back(bench: &mut Bench) {
    use paralight::iter::{
        ExactParallelSourceExt, IntoExactParallelRefSource, ParallelIteratorExt,
    };
    let items: Vec<u64> = (0..128).collect();
    let items = &items[..];
    for times in [30, 300] {
        let n = bench.pick(2, 2_000, 600_000 / times);
        let each = move |_: &u64| multiply(times);
        let mut entries = vec![
            Entry::hot(Kind::Ours, "trefoil", n, move |n| {
                let pool = peers::trefoil(2);
                (0..n).for_each(|_| pool.for_each(items, each));
            }),
            Entry::hot(Kind::OursToo, "trefoil, map", n, move |n| {
                let pool = peers::trefoil(2);
                (0..n).for_each(|_| drop(black_box(pool.map(items, each))));
            }),
            Entry::hot(Kind::Peer, "rayon", n, move |n| {
                let region = || items.into_par_iter().for_each(each);
                (0..n).for_each(|_| peers::rayon(2).install(region));
            }),
            Entry::hot(Kind::Peer, "orx-parallel", n, move |n| {
                (0..n).for_each(|_| items.par().num_threads(2).for_each(each));
            }),
            Entry::hot(Kind::Peer, "paralight", n, move |n| {
                let pool = &mut *peers::paralight().lock().expect("nobody panics");
                for _ in 0..n {
                    let items = IntoExactParallelRefSource::par_iter(items);
                    items.with_thread_pool(&mut *pool).for_each(each);
                }
            }),
        ];
        #[cfg(feature = "regions")]
        entries.extend([
            Entry::hot(Kind::Peer, "micropool", n, move |n| {
                peers::micropool().install(|| {
                    for _ in 0..n {
                        let items = IntoExactParallelRefSource::par_iter(items);
                        let items = items.with_thread_pool(micropool::split_by_threads());
                        items.for_each(each);
                    }
                });
            }),
            Entry::samples(Kind::Peer, "ForkUnion", move |samples| {
                let mut pool = peers::new_fork_union();
                // On a busy machine a region takes milliseconds, because both threads spin.
                let mut regions = |most: u64| {
                    let start = Instant::now();
                    let mut count = 0;
                    while count < most && start.elapsed() < LONG_ENOUGH {
                        pool.for_n(items.len(), |item| each(&items[item.task_index]));
                        count += 1;
                    }
                    start.elapsed().as_nanos() as f64 / count as f64
                };
                regions(n.div_ceil(10));
                samples.push(regions(n));
            }),
        ]);
        entries.push(Entry::hot(Kind::Sequential, "sequential", n, move |n| {
            (0..n).for_each(|_| items.iter().for_each(each));
        }));
        let measured = bench.measure(bench.rounds(), entries);
        let name = format!("regions back to back: `for_each` of 128 x {times} multiplications");
        bench.report(Row::new(name, Unit::Us, &[Goal::Ahead]), &measured);
    }
}

/// Calls that are made when all threads sleep, each a sample.
pub fn after_idle(bench: &Bench, calls: Vec<Call<'_>>, each_round: usize) -> Measured {
    after(IDLE, bench, calls, each_round)
}

/// The same after so long.
fn after(idle: Duration, bench: &Bench, calls: Vec<Call<'_>>, each_round: usize) -> Measured {
    let entries = calls.into_iter().map(|(kind, name, call)| {
        Entry::samples(kind, name, move |samples| {
            for _ in 0..each_round {
                std::thread::sleep(idle);
                let start = Instant::now();
                call();
                samples.push(start.elapsed().as_nanos() as f64);
            }
        })
    });
    bench.measure(bench.few_rounds(), entries.collect())
}

/// The same after the pool has slept.
pub fn idle(bench: &mut Bench) {
    let full = [25, 8];
    for (idle, full) in [IDLE, LONG_IDLE].into_iter().zip(full) {
        let each_round = bench.pick(1, full / 2, full);
        let item = |_: &u64| black_box(spin(200.0));
        let mut regions = regions(200.0);
        regions.push((
            Kind::OursToo,
            "trefoil, threads pinned",
            Box::new(move || drop(black_box(peers::pinned().map(&[1, 2], item)))),
        ));
        // It is asleep, too, by then.
        regions.retain(|region| region.0 != Kind::Floor);
        let measured = after(idle, bench, regions, each_round);
        let millis = idle.as_millis();
        bench.report(
            Row::new(
                format!("region: `map` of 2 x 200 µs, after {millis} ms idle"),
                Unit::Us,
                &[Goal::Times(0.56), Goal::Ahead],
            ),
            &measured,
        );
    }
}
