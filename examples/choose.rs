//! What should I use? Measures on this machine what each way of running work costs, and from which
//! length of an item on it is worth while.
//!
//! ```text
//! cargo run --release --example choose            # some eight seconds
//! cargo run --release --example choose -- quick # less exact
//! ```
//!
//! 1. The cost of one empty task of each kind: what is paid beyond the work itself.
//! 2. The same items one after another, on threads and in processes, from 0.1 µs to 1 ms each.
//! 3. The table of the guide, with the numbers found here.
//!
//! Each figure is the best of several rounds, so that other programs on the machine disturb it
//! little.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use trefoil::{Bulk, Process, ProcessPool, Shared, Task, ThreadPool, spawn, spawn_blocking, time};

/// How long one measurement may take, and how many rounds are enough.
#[derive(Clone, Copy)]
struct Effort {
    longest: Duration,
    rounds: usize,
}

impl Effort {
    /// The time of one operation, in seconds; `f` does `many` of them. The best of several rounds:
    /// the cost where nothing disturbs.
    fn best(self, many: usize, mut f: impl FnMut()) -> f64 {
        f(); // warm
        let began = Instant::now();
        let mut best = f64::INFINITY;
        for round in 0..self.rounds {
            if round >= 3 && began.elapsed() > self.longest {
                break;
            }
            let start = Instant::now();
            f();
            best = best.min(start.elapsed().as_secs_f64());
        }
        best / many as f64
    }
}

/// `turns` rounds of arithmetic that the compiler cannot shorten.
fn work(turns: u64) -> u64 {
    (0..turns).fold(turns, |x, i| black_box(x.rotate_left(5) ^ i))
}

/// How many turns take a second on this machine.
fn turns_per_second(effort: Effort) -> f64 {
    const TURNS: u64 = 100_000;
    1.0 / effort.best(TURNS as usize, || {
        black_box(work(black_box(TURNS)));
    })
}

fn nothing(_: u64) -> u64 {
    0
}

/// Sums the numbers below `leaves`, a power of two, by a tree of joins.
fn tree(leaves: u64) -> u64 {
    if leaves == 1 {
        return black_box(1);
    }
    let (left, right) = trefoil::join(|| tree(leaves / 2), || tree(leaves / 2));
    left + right
}

fn main() -> Result<(), Box<dyn Error>> {
    // In a worker process this line never returns.
    trefoil::init();

    let effort = match std::env::args().nth(1).as_deref() {
        Some("quick") => Effort {
            longest: Duration::from_millis(5),
            rounds: 5,
        },
        _ => Effort {
            longest: Duration::from_millis(200),
            rounds: 101,
        },
    };
    let pool = ThreadPool::new();
    let procs = ProcessPool::new()?;
    println!(
        "{} threads, {} worker processes; the best of some rounds\n",
        pool.num_threads(),
        procs.num_workers()
    );

    let (free, width) = (free_cpus(effort, &pool), pool.num_threads());
    if free < 0.8 * width as f64 {
        println!(
            "Others are at work: {free:.1} of {width} CPUs were free. Run it again when they are idle.\n"
        );
    }

    let costs = costs(effort, &pool, &procs)?;
    println!("What one costs, when there is nothing to do in it:\n");
    for (what, seconds) in &costs {
        println!("  {what:<58} {:>9}", span(*seconds));
    }

    let gains = gains(effort, &pool, &procs)?;
    print_gains(&gains);
    advise(&gains);
    Ok(())
}

/// How many CPUs' work the pool does.
fn free_cpus(effort: Effort, pool: &ThreadPool) -> f64 {
    const TURNS: u64 = 1_000_000;
    let one = effort.best(1, || {
        black_box(work(black_box(TURNS)));
    });
    let all = effort.best(1, || drop(pool.broadcast(|_| work(black_box(TURNS)))));
    pool.num_threads() as f64 * one / all
}

/// The cost of one empty task, in each way.
fn costs(
    effort: Effort,
    pool: &ThreadPool,
    procs: &ProcessPool,
) -> Result<Vec<(&'static str, f64)>, Box<dyn Error>> {
    const MANY: usize = 1000;
    const LEAVES: u64 = 1 << 14;
    let mut costs = Vec::new();
    let mut add = |what, seconds| costs.push((what, seconds));

    add(
        "`join`: one of a tree of them",
        effort.best(LEAVES as usize - 1, || {
            black_box(pool.install(|| tree(LEAVES)));
        }),
    );
    add(
        "`pool.map`: an item of many",
        effort.best(100 * MANY, || {
            black_box(pool.map(0..100 * MANY as u64, nothing));
        }),
    );
    add(
        "`pool.map`: the call, two items",
        effort.best(MANY, || {
            for _ in 0..MANY {
                black_box(pool.map(0..2, nothing));
            }
        }),
    );
    add(
        "`pool.spawn` + `join`, one by one",
        effort.best(MANY, || {
            for _ in 0..MANY {
                black_box(pool.spawn(|| 0).join().is_ok());
            }
        }),
    );
    add(
        "`std::thread::spawn` + `join`, for comparison",
        effort.best(1, || {
            black_box(std::thread::spawn(|| 0).join().is_ok());
        }),
    );
    let (local, handed, woken) = trefoil::run(loop_costs(effort))?;
    add("`spawn` on the loop + `.await`", local);
    add("`spawn_blocking` + `.await` on the loop", handed);
    add("`time::sleep` of 100 µs: how late", woken);
    add(
        "`procs.map`: an item of many",
        effort.best(100 * MANY, || {
            black_box(procs.map(0..100 * MANY as u64, nothing).is_ok());
        }),
    );
    add(
        "`procs.spawn` + `join`, one by one",
        effort.best(10, || {
            for n in 0..10 {
                black_box(procs.spawn(n, nothing).join().is_ok());
            }
        }),
    );
    add(
        "`procs.spawn`, many at once",
        effort.best(MANY, || {
            let tasks: Vec<Task<u64>> = (0..MANY as u64).map(|n| procs.spawn(n, nothing)).collect();
            black_box(trefoil::join_all(tasks).join());
        }),
    );
    add(
        "`Process::spawn` + `join`: a process of its own",
        effort.best(1, || {
            black_box(Process::spawn(0, nothing).is_ok_and(|process| process.join().is_ok()));
        }),
    );

    // The same four megabytes of numbers, sent to another process in three ways.
    let numbers = vec![1.5_f64; 1 << 19];
    let shared = Shared::from(&numbers[..]);
    add(
        "4 MB of numbers to a process, as a `Vec<f64>`",
        effort.best(1, || {
            let sum = procs.spawn(numbers.clone(), |all: Vec<f64>| all.len());
            black_box(sum.join().is_ok());
        }),
    );
    let integers: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
    add(
        "the same, as a `Vec<u64>`",
        effort.best(1, || {
            let sum = procs.spawn(integers.clone(), |all: Vec<u64>| all.len());
            black_box(sum.join().is_ok());
        }),
    );
    add(
        "the same, as a part of something: `(u8, Vec<u64>)`",
        effort.best(1, || {
            let sum = procs.spawn((7, integers.clone()), |all: (u8, Vec<u64>)| all.1.len());
            black_box(sum.join().is_ok());
        }),
    );
    let pairs = numbers.as_chunks::<2>().0.to_vec();
    add(
        "the same, as a `Vec<[f64; 2]>`",
        effort.best(1, || {
            let sum = procs.spawn(pairs.clone(), |all: Vec<[f64; 2]>| all.len());
            black_box(sum.join().is_ok());
        }),
    );
    add(
        "the same, as a `Bulk`",
        effort.best(1, || {
            let sum = procs.spawn(Bulk::from(numbers.clone()), |all: Bulk<f64>| all.len());
            black_box(sum.join().is_ok());
        }),
    );
    add(
        "the same, as a `Shared`",
        effort.best(1, || {
            let sum = procs.spawn(shared.clone(), |all: Shared<f64>| all.len());
            black_box(sum.join().is_ok());
        }),
    );
    Ok(costs)
}

/// A local task, a task of a pool, and how late a short sleep ends.
async fn loop_costs(effort: Effort) -> Result<(f64, f64, f64), trefoil::TaskError> {
    const NAP: Duration = Duration::from_micros(100);
    let mut best = [f64::INFINITY; 3];
    let mut note = |which: usize, start: Instant| {
        best[which] = best[which].min(start.elapsed().as_secs_f64());
    };
    for _ in 0..effort.rounds {
        let start = Instant::now();
        for _ in 0..100 {
            spawn(async {}).await?;
        }
        note(0, start);

        let start = Instant::now();
        spawn_blocking(|| ()).await?;
        note(1, start);

        let start = Instant::now();
        time::sleep(NAP).await;
        note(2, start);
    }
    let [local, handed, nap] = best;
    Ok((local / 100.0, handed, nap - NAP.as_secs_f64()))
}

/// How much faster than a loop the pools are, for items of one length.
struct Gain {
    /// How long one item takes, in seconds.
    item: f64,
    items: usize,
    threads: f64,
    processes: f64,
}

fn gains(
    effort: Effort,
    pool: &ThreadPool,
    procs: &ProcessPool,
) -> Result<Vec<Gain>, Box<dyn Error>> {
    const LENGTHS: [f64; 8] = [1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 1e-3];
    let speed = turns_per_second(effort);
    let mut gains = Vec::new();
    for item in LENGTHS {
        let turns = ((item * speed) as u64).max(1);
        let items = (20e-3 / item).clamp(20.0, 1000.0) as usize; // at most 20 ms in a row
        let list = vec![turns; items];
        let expected: u64 = list
            .iter()
            .map(|&turns| work(turns))
            .fold(0, u64::wrapping_add);
        let check = |results: Vec<u64>| {
            let sum = results.into_iter().fold(0, u64::wrapping_add);
            assert_eq!(sum, expected, "a result has got lost");
        };
        let one_by_one = effort.best(items, || {
            check(list.iter().map(|&turns| work(black_box(turns))).collect());
        });
        let threads = effort.best(items, || check(pool.map(&list, |&turns| work(turns))));
        procs.map(list.clone(), work)?; // the first failure, if any, is reported here
        let processes = effort.best(items, || {
            check(
                procs
                    .map(list.iter().copied(), work)
                    .expect("no worker dies"),
            );
        });
        gains.push(Gain {
            item: one_by_one,
            items,
            threads: one_by_one / threads,
            processes: one_by_one / processes,
        });
    }
    Ok(gains)
}

fn print_gains(gains: &[Gain]) {
    println!("\nHow many times as fast as a loop:\n");
    println!(
        "  {:>10} {:>8} {:>12} {:>12}",
        "an item", "items", "pool.map", "procs.map"
    );
    for gain in gains {
        println!(
            "  {:>10} {:>8} {:>11.2}x {:>11.2}x",
            span(gain.item),
            gain.items,
            gain.threads,
            gain.processes
        );
    }
}

/// The length of an item from which on the gain is always a fifth or more.
fn pays_from(gains: &[Gain], of: impl Fn(&Gain) -> f64) -> Option<f64> {
    let first = gains
        .iter()
        .rposition(|gain| of(gain) < 1.2)
        .map_or(0, |at| at + 1);
    gains.get(first).map(|gain| gain.item)
}

fn advise(gains: &[Gain]) {
    let from = |of: fn(&Gain) -> f64| match pays_from(gains, of) {
        Some(seconds) => format!("from {} each on", span(seconds)),
        None => "no length tried paid here".to_owned(),
    };
    let (threads, processes) = (from(|gain| gain.threads), from(|gain| gain.processes));
    let rows: [(&str, &str, &str); 7] = [
        (
            "computes, a little",
            "a loop",
            "what a pool does not pay for",
        ),
        ("computes, many items", "pool.map, join, scope", &threads),
        ("computes, in one piece", "pool.spawn", "to go on meanwhile"),
        (
            "may crash, leak, hang",
            "procs.map, procs.spawn",
            &processes,
        ),
        (
            "one helper with a pid",
            "Process",
            "longer than it takes to start",
        ),
        ("waits", "run, spawn", "any number"),
        (
            "blocks in foreign code",
            "spawn_blocking",
            "awaited from the loop",
        ),
    ];
    println!("\nWhat should I use for work that\n");
    for (what, tool, when) in rows {
        println!("  {what:<24} {tool:<24} {when}");
    }
}

/// Seconds, in a readable unit.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1e-7 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-4 => format!("{:.1} µs", s * 1e6),
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}
