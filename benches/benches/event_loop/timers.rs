//! What a timer costs: begun and cancelled, one among a million, and a hundred thousand that are
//! due within 100 ms.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Measured, Row, Unit};

use crate::peers::runtimes;
use crate::python;

/// Longer than the benchmark takes.
const LONG: Duration = Duration::from_secs(3600);

/// Begins to wait.
fn begin<F: Future + Unpin>(mut timer: F) -> F {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(&mut timer).poll(&mut cx), Poll::Pending));
    timer
}

/// Not all at the same time, and in no order.
fn scattered(i: u64) -> Duration {
    LONG + Duration::from_nanos(i * 7919 % 1_000_003 * 1000)
}

/// Begun and cancelled in turn; or all begun, then all cancelled.
fn timers<F: Future + Unpin>(n: u64, together: bool, timer: impl Fn(Duration) -> F) {
    let all = (0..n).map(|i| begin(timer(scattered(i))));
    if together {
        drop(black_box(all.collect::<Vec<F>>()));
    } else {
        all.for_each(drop);
    }
}

fn entries(n: u64, together: bool) -> Vec<Entry<'static>> {
    let here = runtimes();
    vec![
        Entry::hot(Kind::Ours, "trefoil", n, move |n| {
            here.ours
                .block_on(async { timers(n, together, trefoil::time::sleep) });
        }),
        Entry::hot(Kind::Peer, "tokio", n, move |n| {
            here.on_tokio(async {
                timers(n, together, |length| Box::pin(tokio::time::sleep(length)));
            });
        }),
        Entry::hot(Kind::Peer, "smol", n, move |n| {
            timers(n, together, smol::Timer::after);
        }),
    ]
}

/// What most timers do.
pub fn cancelled(bench: &mut Bench) {
    let n = bench.pick(10, 10_000, 50_000);
    let mut entries = entries(n, false);
    entries.extend(python::entries("timers", n, 1));
    let measured = bench.measure(bench.rounds(), entries);
    let goals = &[Goal::AtMost(50.0), Goal::Ahead];
    bench.report(
        Row::new("a timer, begun and cancelled", Unit::Ns, goals).on("cost-loop", 0.0),
        &measured,
    );
}

/// The same among many: linear is when it costs no more.
pub fn pending(bench: &mut Bench) {
    let sizes = bench.pick(
        &[1_000][..],
        &[10_000, 100_000],
        &[10_000, 100_000, 1_000_000],
    );
    for &n in sizes {
        let measured = bench.measure(bench.few_rounds(), entries(n, true));
        let name = format!("{n} timers that wait at once, begun and cancelled, each");
        let row = Row::new(name, Unit::Ns, &[Goal::Ahead]).detail(Some(&n) != sizes.last());
        bench.report(row, &measured);
    }
}

/// This thread's processor time.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// When the `i`-th of `n` timers is due: within 100 ms, in no order.
fn soon(start: Instant, i: u64, n: u64) -> Instant {
    start + Duration::from_nanos(i * 7919 % n * 100_000_000 / n)
}

/// All tasks are begun, then time passes, and when all have ended they are asked.
async fn sleepers<T: Future<Output = Duration>, S: Future>(
    n: u64,
    spawn: impl Fn(Instant) -> T,
    sleep: impl FnOnce(Instant) -> S,
) -> Vec<Duration> {
    // When all have begun to wait.
    let start = Instant::now() + Duration::from_millis(50) + Duration::from_micros(2 * n);
    let tasks: Vec<T> = (0..n).map(|i| spawn(soon(start, i, n))).collect();
    sleep(start + Duration::from_millis(110)).await;
    let mut late = Vec::with_capacity(tasks.len());
    for task in tasks {
        late.push(task.await);
    }
    late
}

/// A hundred thousand tasks that sleep.
pub fn due(bench: &mut Bench) {
    let n = bench.pick(100, 20_000, 100_000);
    let here = runtimes();
    let mut figures = [const { Vec::new() }; 3];
    let mut spent = [const { Vec::new() }; 3];
    for round in 0..=bench.few_rounds() {
        for contender in 0..3 {
            let before = cpu();
            let late = match contender {
                0 => here.ours.block_on(sleepers(
                    n,
                    |deadline| {
                        let task = trefoil::spawn(async move {
                            trefoil::time::sleep_until(deadline).await;
                            deadline.elapsed()
                        });
                        async { task.await.expect("it sleeps only") }
                    },
                    trefoil::time::sleep_until,
                )),
                1 => here.on_tokio(sleepers(
                    n,
                    |deadline| {
                        let task = tokio::spawn(async move {
                            tokio::time::sleep_until(deadline.into()).await;
                            deadline.elapsed()
                        });
                        async { task.await.expect("it sleeps only") }
                    },
                    |deadline| tokio::time::sleep_until(deadline.into()),
                )),
                _ => here.on_smol(sleepers(
                    n,
                    |deadline| {
                        here.smol.spawn(async move {
                            smol::Timer::at(deadline).await;
                            deadline.elapsed()
                        })
                    },
                    smol::Timer::at,
                )),
            };
            if round > 0 {
                spent[contender].push((cpu() - before).as_nanos() as f64);
                figures[contender].extend(late.iter().map(|late| late.as_nanos() as f64));
            }
        }
    }
    let names = [
        ("trefoil", Kind::Ours),
        ("tokio", Kind::Peer),
        ("smol", Kind::Peer),
    ];
    let measured = |figures: &[Vec<f64>; 3]| {
        let all = names.iter().zip(figures);
        Measured::new(
            all.map(|((name, kind), figures)| (*name, *kind, figures.clone()))
                .collect(),
        )
    };
    let name = format!("{n} sleeping tasks that are due within 100 ms");
    let processor: &[Goal] = &[Goal::AtMost(30e6), Goal::Ahead];
    bench.report(
        Row::new(format!("{name}: processor time"), Unit::Ms, processor),
        &measured(&spent),
    );
    bench.report(
        Row::new(format!("{name}: lateness"), Unit::Us, &[]),
        &measured(&figures),
    );
    let late = Row {
        goals: &[Goal::AtMost(100e3), Goal::Ahead],
        ..Row::p99(format!("{name}: lateness, p99"), Unit::Us)
    };
    bench.report(late, &measured(&figures));
}
