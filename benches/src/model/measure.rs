//! What things cost on this machine, and how the real pools do.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::machine::Costs;
use crate::{SHAPES, Shape, simulate, speed_up};

/// In nanoseconds: half of what it takes to send a line to another thread and get it back.
fn transfer() -> f64 {
    const ROUNDS: usize = 200_000;
    let turn = AtomicUsize::new(0);
    let play = |me: usize| {
        for round in 0..ROUNDS {
            while turn.load(Ordering::Acquire) != round * 2 + me {
                spin_loop();
            }
            turn.store(round * 2 + me + 1, Ordering::Release);
        }
    };
    let began = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| play(1));
        play(0);
    });
    began.elapsed().as_nanos() as f64 / (ROUNDS * 2) as f64
}

/// In nanoseconds: what waking a thread costs the one that wakes it, and until the thread runs.
fn wake() -> (f64, f64) {
    let mut costs = Vec::new();
    for _ in 0..200 {
        let (call, latency) = thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                thread::park();
                Instant::now()
            });
            thread::sleep(Duration::from_millis(1));
            let began = Instant::now();
            sleeper.thread().unpark();
            let call = began.elapsed();
            (call, sleeper.join().expect("it does not panic") - began)
        });
        costs.push((call.as_nanos() as f64, latency.as_nanos() as f64));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    (median(|cost| cost.0), median(|cost| cost.1))
}

/// Rounds of a loop in a nanosecond.
fn pace() -> f64 {
    let rounds = 50_000_000;
    let began = Instant::now();
    compute(rounds);
    rounds as f64 / began.elapsed().as_nanos() as f64
}

fn compute(rounds: u64) {
    let mut sum = 0_u64;
    for round in 0..rounds {
        sum = black_box(sum.wrapping_add(round));
    }
}

fn tree(leaf: &(dyn Fn() + Sync), depth: u32, ours: bool) {
    if depth == 0 {
        return leaf();
    }
    let half = || tree(leaf, depth - 1, ours);
    match ours {
        true => trefoil::join(half, half),
        false => rayon::join(half, half),
    };
}

/// In nanoseconds.
fn real(
    shape: Shape,
    pace: f64,
    threads: &trefoil::ThreadPool,
    rayon: Option<&rayon::ThreadPool>,
) -> f64 {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    let spend = |nanoseconds: f64| compute((nanoseconds * pace) as u64);
    let began = Instant::now();
    match shape {
        Shape::Joins(depth, leaf) => {
            let leaf = || spend(leaf);
            match rayon {
                None => threads.install(|| tree(&leaf, depth, true)),
                Some(pool) => pool.install(|| tree(&leaf, depth, false)),
            }
        }
        Shape::Even(items, _) | Shape::Uneven(items, _) => {
            let cost = |at: usize| match shape {
                Shape::Uneven(items, last) => last * (at + 1) as f64 / items as f64,
                Shape::Even(_, each) => each,
                _ => 0.0,
            };
            match rayon {
                None => threads.for_each(0..items, |at| spend(cost(at))),
                Some(pool) => {
                    pool.install(|| (0..items).into_par_iter().for_each(|at| spend(cost(at))));
                }
            }
        }
        Shape::Outside(tasks, each) => match rayon {
            None => {
                let all: Vec<_> = (0..tasks)
                    .map(|_| threads.spawn(move || compute((each * pace) as u64)))
                    .collect();
                for task in all {
                    task.join().expect("it does not panic");
                }
            }
            Some(pool) => pool.in_place_scope(|scope| {
                for _ in 0..tasks {
                    scope.spawn(|_| spend(each));
                }
            }),
        },
        Shape::Inside(..) => unreachable!("it is only modelled"),
    }
    began.elapsed().as_nanos() as f64
}

/// Prints the costs measured here, and the model's speed-ups with them beside those of the real
/// pools.
pub(crate) fn check(costs: Costs) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (wake, latency) = wake();
    let transfer = if processors > 1 {
        transfer()
    } else {
        costs.transfer
    };
    let costs = Costs {
        transfer,
        wake,
        latency,
        ..costs
    };
    println!("{processors} processors; {costs:?}\n");
    println!("speed-up                       trefoil             rayon");
    println!("                            model  measured    model  measured");
    let pace = pace();
    let threads = trefoil::ThreadPool::with_threads(processors);
    let rayon = rayon::ThreadPoolBuilder::new()
        .num_threads(processors)
        .build();
    let rayon = rayon.expect("the system has threads");
    for (name, shape) in SHAPES {
        if matches!(shape, Shape::Inside(..)) {
            continue;
        }
        let model =
            [true, false].map(|ours| speed_up(shape, &simulate(shape, processors, ours, costs)));
        let best = |rayon: Option<&rayon::ThreadPool>| {
            (0..15)
                .map(|_| real(shape, pace, &threads, rayon))
                .fold(f64::MAX, f64::min)
        };
        let measured = [None, Some(&rayon)].map(|rayon| shape.total() / best(rayon));
        println!(
            "{name:<26} {:>6.2} {:>9.2} {:>8.2} {:>9.2}",
            model[0], measured[0], model[1], measured[1]
        );
    }
}
