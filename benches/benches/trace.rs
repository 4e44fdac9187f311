//! What recording costs (feature `trace`): tasks of ten microseconds and of none, with and without.
//!
//! The same work in turn, recorded and not, in one process; starting, stopping and what follows
//! from the events are not in it, as they are not in the time of the program that is looked at. The
//! pool is as wide as there are processors; a caller spawns a thousand tasks at once and then waits
//! for them, in order. On the loop a root future does the same.
//!
//! Goal: 5 % for tasks of ten microseconds.
//!
//! ```text
//! cargo bench -p trefoil-benches --features trace --bench trace             # all rows
//! cargo bench -p trefoil-benches --features trace --bench trace -- --quick  # a look
//! ```
#![allow(clippy::disallowed_methods)] // that door is for the crate's own protocols

use std::hint::black_box;
use std::time::Instant;

use trefoil::{EventLoop, ThreadPool, trace};
use trefoil_benches::median;

/// How many tasks a round has.
const TASKS: u64 = 1000;

/// Computes for some time: `turns` says how long.
fn compute(turns: u64) -> u64 {
    (0..turns).fold(1, |x: u64, n| black_box(x.wrapping_mul(31).wrapping_add(n)))
}

/// So many turns take a microsecond.
fn turns_each_microsecond() -> f64 {
    let times = (0..50).map(|_| {
        let start = Instant::now();
        black_box(compute(black_box(20_000)));
        20_000.0 * 1e3 / start.elapsed().as_nanos() as f64
    });
    median(times.collect())
}

/// Runs a round, and says how many nanoseconds a task took.
fn timed(round: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    round();
    start.elapsed().as_nanos() as f64 / TASKS as f64
}

/// Prints a row, and gives the ratio.
fn row(question: &str, rounds: usize, round: &mut dyn FnMut()) -> f64 {
    let (mut plain, mut recorded, mut ratios, mut more) = (vec![], vec![], vec![], vec![]);
    let mut events = 0.0;
    for turn in 0..=rounds {
        // Neither always comes first.
        let first = turn % 2 == 0;
        let mut pair = [0.0; 2];
        for record in [first, !first] {
            let recording = record.then(|| trace::start().expect("nobody else records"));
            pair[usize::from(record)] = timed(round);
            if let Some(recording) = recording {
                let trace = recording.stop();
                assert_eq!(trace.lost(), 0);
                events = trace.events() as f64 / TASKS as f64;
            }
        }
        // The first pair warms up.
        if turn > 0 {
            plain.push(pair[0]);
            recorded.push(pair[1]);
            ratios.push(pair[1] / pair[0]);
            more.push((pair[1] - pair[0]) / events);
        }
    }
    let (plain, recorded, ratio) = (median(plain), median(recorded), median(ratios));
    println!(
        "  {question:<44} {plain:>9.0} ns {recorded:>9.0} ns   x{ratio:.3}  {events:>5.1} events a task, {:>4.0} ns each",
        median(more)
    );
    ratio
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let rounds = if quick { 15 } else { 101 };
    let ten = (10.0 * turns_each_microsecond()) as u64;
    println!("What a task takes, and what it takes when it is recorded; goal: x1.05 for 10 us");
    let pool = ThreadPool::new();
    let spawn = |turns: u64| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| pool.spawn(move || compute(black_box(turns))))
            .collect();
        for task in tasks {
            black_box(task.join().expect("it is cancelled by nobody"));
        }
    };
    let event_loop = EventLoop::new().expect("a loop");
    let turn = |turns: u64| {
        event_loop.block_on(async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| trefoil::spawn(async move { compute(black_box(turns)) }))
                .collect();
            for task in tasks {
                black_box(task.await.expect("it is cancelled by nobody"));
            }
        });
    };
    let width = pool.num_threads();
    let ratios = [
        row(
            &format!("10 us on {width} threads and the caller"),
            rounds,
            &mut || spawn(ten),
        ),
        row("10 us on the loop", rounds, &mut || turn(ten)),
    ];
    row("nothing, on threads", rounds, &mut || spawn(0));
    row("nothing, on the loop", rounds, &mut || turn(0));
    let met = ratios.iter().all(|ratio| *ratio <= 1.05);
    println!(
        "{}",
        if met {
            "the goal is met"
        } else {
            "THE GOAL IS MISSED"
        }
    );
}
