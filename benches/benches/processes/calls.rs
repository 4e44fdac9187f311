//! One tiny call after another, with and without pauses, on two processors and on one; and many at
//! once.

use std::hint::black_box;
use std::time::{Duration, Instant};

use trefoil_benches::rows::{Bench, Entry, Goal, Kind, Row, Unit};

use crate::ipc::Channel;
use crate::peers::{self, Confined, add_one};
use crate::pipes::Pipes;
use crate::python;

/// After so long all contenders sleep.
const PAUSE: Duration = Duration::from_micros(500);

/// One call, answered.
type Call<'a> = Box<dyn FnMut(u64) -> u64 + 'a>;

fn calls<'a>() -> Vec<(Kind, &'static str, Call<'a>)> {
    let procs = peers::new_trefoil();
    let plain = peers::new_plain();
    let procspawn = peers::new_procspawn();
    let channel = Channel::new();
    let mut pipes = Pipes::new(0);
    vec![
        (
            Kind::Ours,
            "trefoil",
            Box::new(move |n| procs.spawn(n, add_one).join().expect("it answers")),
        ),
        (
            Kind::OursToo,
            peers::PLAIN,
            Box::new(move |n| plain.spawn(n, add_one).join().expect("it answers")),
        ),
        (
            Kind::Peer,
            "procspawn",
            Box::new(move |n| procspawn.0.spawn(n, add_one).join().expect("it answers")),
        ),
        (
            Kind::Peer,
            "ipc-channel by hand",
            Box::new(move |n| channel.call(n)),
        ),
        (Kind::Floor, "bare pipes", Box::new(move |n| pipes.call(n))),
    ]
}

fn after_pauses(
    bench: &Bench,
    calls: Vec<(Kind, &'static str, Call<'static>)>,
) -> Vec<Entry<'static>> {
    let count = bench.pick(2, 50, 200_u64);
    let entries = calls.into_iter().map(|(kind, name, mut call)| {
        Entry::samples(kind, name, move |samples| {
            for n in 0..count {
                std::thread::sleep(PAUSE);
                let start = Instant::now();
                black_box(call(n));
                samples.push(start.elapsed().as_nanos() as f64);
            }
        })
    });
    let pythons = python::all(bench).into_iter();
    entries
        .chain(pythons.map(|python| python.entry("pauses", count)))
        .collect()
}

fn in_a_row(bench: &Bench, calls: Vec<(Kind, &'static str, Call<'static>)>) -> Vec<Entry<'static>> {
    let count = bench.pick(10, 300, 1_000);
    let entries = calls.into_iter().map(|(kind, name, mut call)| {
        Entry::hot(kind, name, count, move |count| {
            for n in 0..count {
                black_box(call(n));
            }
        })
    });
    let pythons = python::all(bench).into_iter();
    entries
        .chain(pythons.map(|python| python.entry("calls", count)))
        .collect()
}

/// Both sides sleep before each call.
pub fn with_pauses(bench: &mut Bench) {
    let entries = after_pauses(bench, calls());
    let measured = bench.measure(bench.few_rounds(), entries);
    let goals = &[Goal::AtMost(40e3), Goal::Ahead];
    let row = Row::new("one call, after a pause, two processors", Unit::Us, goals);
    bench.report(row.on("latency-processes", 0.0), &measured);
    let row = Row::p99("one call, after a pause, two processors: p99", Unit::Us).detail(true);
    bench.report(row, &measured);
}

/// Each call's time, without pauses.
fn each(bench: &Bench) -> Vec<Entry<'static>> {
    let count = bench.pick(10, 1_000, 5_000_u64);
    let entries = calls().into_iter().map(|(kind, name, mut call)| {
        Entry::samples(kind, name, move |samples| {
            for n in 0..count {
                let start = Instant::now();
                black_box(call(n));
                samples.push(start.elapsed().as_nanos() as f64);
            }
        })
    });
    entries.collect()
}

/// The next call follows its predecessor's answer.
pub fn back_to_back(bench: &mut Bench) {
    let measured = bench.measure(bench.few_rounds(), each(bench));
    let row = Row::p99("one call after the other: p99", Unit::Us).detail(true);
    bench.report(row, &measured);
    let entries = in_a_row(bench, calls());
    let measured = bench.measure(bench.rounds(), entries);
    let goals = &[Goal::AtMost(4e3), Goal::Ahead];
    let row = Row::new("one call after the other, two processors", Unit::Us, goals);
    bench.report(row.on("cost-processes", 0.0), &measured);
}

/// The same with all processes on one processor.
pub fn on_one_cpu(bench: &mut Bench) {
    let confined = Confined::new();
    let entries = in_a_row(bench, calls());
    let measured = bench.measure(bench.rounds(), entries);
    drop(confined);
    let goals = &[Goal::AtMost(8e3), Goal::Ahead];
    let row = Row::new("one call after the other, one processor", Unit::Us, goals);
    bench.report(row, &measured);
}

/// Eight threads call, each one call after the other; the time of each call.
pub fn eight_callers(bench: &mut Bench) {
    const CALLERS: u64 = 8;
    fn all(count: u64, call: impl Fn(u64) -> u64 + Sync) {
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| (0..count / CALLERS).for_each(|n| _ = black_box(call(n))));
            }
        });
    }
    let count = bench.pick(80, 4_000, 20_000);
    let entries = vec![
        Entry::hot(Kind::Ours, "trefoil", count, |count| {
            all(count, |n| {
                peers::trefoil()
                    .spawn(n, add_one)
                    .join()
                    .expect("it answers")
            });
        }),
        Entry::hot(Kind::OursToo, peers::PLAIN, count, |count| {
            all(count, |n| {
                peers::plain().spawn(n, add_one).join().expect("it answers")
            });
        }),
        Entry::hot(Kind::Peer, "procspawn", count, |count| {
            all(count, |n| {
                peers::procspawn()
                    .spawn(n, add_one)
                    .join()
                    .expect("it answers")
            });
        }),
    ];
    let measured = bench.measure(bench.rounds(), entries);
    let row = Row::new("calls of eight threads, each", Unit::Us, &[Goal::Ahead]);
    bench.report(row, &measured);
}

/// All calls are submitted before the first is waited for.
pub fn separate(bench: &mut Bench) {
    let count = bench.pick(100, 10_000, 50_000);
    let few = bench.pick(10, 500, 2_000);
    let mut pipes: Vec<_> = (0..peers::WORKERS).map(|_| Pipes::new(0)).collect();
    let mut entries = vec![
        Entry::hot(Kind::Ours, "trefoil", count, |count| {
            let tasks: Vec<_> = (0..count)
                .map(|n| peers::trefoil().spawn(n, add_one))
                .collect();
            for task in tasks {
                black_box(task.join().expect("it answers"));
            }
        }),
        Entry::hot(Kind::OursToo, "trefoil, join_all", count, |count| {
            let tasks: Vec<_> = (0..count)
                .map(|n| peers::trefoil().spawn(n, add_one))
                .collect();
            black_box(trefoil::join_all(tasks).join().len());
        }),
        Entry::hot(Kind::OursToo, peers::PLAIN, few, |count| {
            let tasks: Vec<_> = (0..count)
                .map(|n| peers::plain().spawn(n, add_one))
                .collect();
            for task in tasks {
                black_box(task.join().expect("it answers"));
            }
        }),
        Entry::hot(Kind::Peer, "procspawn, 64 in flight", few, |count| {
            let mut next = 0;
            while next < count {
                let end = count.min(next + 64);
                let calls: Vec<_> = (next..end)
                    .map(|n| peers::procspawn().spawn(n, add_one))
                    .collect();
                for call in calls {
                    black_box(call.join().expect("it answers"));
                }
                next = end;
            }
        }),
        Entry::hot(
            Kind::Floor,
            "bare pipes, 512 in a message",
            count,
            move |count| {
                black_box(Pipes::all(&mut pipes, count));
            },
        ),
    ];
    entries.extend(
        python::all(bench)
            .into_iter()
            .map(|python| python.entry("separate", few)),
    );
    let measured = bench.measure(bench.rounds(), entries);
    let goals = &[Goal::AtMost(2e3), Goal::Ahead];
    bench.report(
        Row::new("separate tiny calls, all at once, each", Unit::Ns, goals)
            .on("cost-processes", 0.0),
        &measured,
    );
}
