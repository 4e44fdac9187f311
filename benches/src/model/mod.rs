//! What more processors would do: a model of the pool's protocol, and of rayon's, on a machine with
//! as many as one likes.
//!
//! ```console
//! cargo run --release -p trefoil-checks --example scaling            # speed-ups, hottest lines
//! cargo run --release -p trefoil-checks --example scaling -- --check # beside what is measured
//! ```
//!
//! The model runs each protocol step by step, and each step costs what it costs here: `--check`
//! measures that (a cache line that moves between two threads, a wake-up), and then runs the same
//! loads on the two real pools, with as many threads as this machine has processors.

mod machine;
mod measure;
mod pool;
mod rayon;
mod trefoil;

use std::cell::Cell;
use std::rc::Rc;

use machine::{Costs, Machine, Report, Step};
use pool::{Entry, Load, Pool, Work};

/// Measured on two processors of a server (`--check`); others differ by a factor, not by ten.
const COSTS: Costs = Costs {
    hit: 1.0,
    atomic: 5.0,
    transfer: 60.0,
    wake: 2_500.0,
    latency: 5_000.0,
    turn: 300.0,
};

/// A load, and how it begins.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// A tree of joins of this depth, whose leaves take this long, in nanoseconds.
    Joins(u32, f64),
    /// A map over this many items of this length.
    Even(usize, f64),
    /// A map over this many items; the last takes this long, the others proportionally less.
    Uneven(usize, f64),
    /// This many tasks of this length, spawned by a thread that is no worker.
    Outside(usize, f64),
    /// A tree of tasks of this depth, each of which spawns two.
    Inside(u32, f64),
}

pub(crate) const SHAPES: [(&str, Shape); 7] = [
    ("joins, leaves of 1 us", Shape::Joins(13, 1_000.0)),
    ("joins, leaves of 50 ns", Shape::Joins(16, 50.0)),
    ("map, 1,000,000 of 5 ns", Shape::Even(1_000_000, 5.0)),
    ("map, 256 of 20 us", Shape::Even(256, 20_000.0)),
    ("map, 1,000, dearest last", Shape::Uneven(1_000, 20_000.0)),
    ("spawns from outside", Shape::Outside(20_000, 1_000.0)),
    ("spawns inside", Shape::Inside(13, 1_000.0)),
];

impl Shape {
    /// How long one processor computes, in nanoseconds.
    fn total(self) -> f64 {
        match self {
            Self::Joins(depth, leaf) => f64::from(1 << depth) * leaf,
            Self::Even(items, each) => items as f64 * each,
            Self::Uneven(items, last) => last * (items as f64 + 1.0) / 2.0,
            Self::Outside(tasks, each) => tasks as f64 * each,
            Self::Inside(depth, each) => f64::from((2 << depth) - 1) * each,
        }
    }

    fn tasks(self) -> usize {
        match self {
            Self::Outside(tasks, _) => tasks,
            Self::Inside(depth, _) => (2 << depth) - 1,
            _ => 0,
        }
    }

    fn load(self) -> Load {
        let (leaf, item): (f64, Box<dyn Fn(usize) -> f64>) = match self {
            Self::Joins(_, leaf) | Self::Outside(_, leaf) | Self::Inside(_, leaf) => {
                (leaf, Box::new(|_| 0.0))
            }
            Self::Even(_, each) => (0.0, Box::new(move |_| each)),
            Self::Uneven(items, last) => (
                0.0,
                Box::new(move |at| last * (at + 1) as f64 / items as f64),
            ),
        };
        Load {
            leaf,
            item,
            call: 2.0,
            left: Cell::new(self.tasks()),
        }
    }

    /// How many processors have no worker of the pool.
    fn outside(self) -> usize {
        usize::from(matches!(self, Self::Outside(..)))
    }
}

/// What processor 0 does.
fn program<'a>(pool: &'a dyn Pool, load: &'a Load, shape: Shape) -> Step<'a> {
    Box::pin(async move {
        match shape {
            Shape::Joins(depth, _) => pool::run(pool, load, 0, Work::Node(depth), false).await,
            Shape::Even(items, _) | Shape::Uneven(items, _) => {
                let all = Work::Items(0, items, pool.splits());
                pool::run(pool, load, 0, all, false).await;
            }
            Shape::Outside(tasks, _) => {
                for _ in 0..tasks {
                    let work = Work::Task(0);
                    pool.inject(0, Entry { work, latch: None }).await;
                }
                while load.left.get() > 0 {
                    pool.machine().park(0).await;
                }
            }
            Shape::Inside(depth, _) => {
                pool::run(pool, load, 0, Work::Task(depth), false).await;
                // It waits as the newest of its own tasks would be run by it: by running them.
                pool.run_tasks(load, 0).await;
            }
        }
    })
}

fn simulate(shape: Shape, processors: usize, is_trefoil: bool, costs: Costs) -> Report {
    let all = processors + shape.outside();
    let machine = Machine::new(all, costs);
    let pool: Rc<dyn Pool> = match is_trefoil {
        true => Rc::new(trefoil::Trefoil::new(&machine, all, shape.outside())),
        false => Rc::new(rayon::Rayon::new(&machine, all, shape.outside())),
    };
    let load = shape.load();
    let mut programs = vec![program(&*pool, &load, shape)];
    programs.extend((1..all).map(|processor| pool.worker(&load, processor)));
    machine.run(programs)
}

fn speed_up(shape: Shape, report: &Report) -> f64 {
    shape.total() / report.took
}

fn main() {
    if std::env::args().any(|arg| arg == "--check") {
        return measure::check(COSTS);
    }
    println!("{COSTS:?}");
    for (name, shape) in SHAPES {
        println!("\n{name}");
        println!(
            "  P  trefoil   rayon   wakes        the hottest lines of trefoil: share of all time"
        );
        for processors in [1, 2, 4, 8, 16, 32, 64, 128] {
            let ours = simulate(shape, processors, true, COSTS);
            let theirs = simulate(shape, processors, false, COSTS);
            let hottest: Vec<String> = ours
                .hottest
                .iter()
                .take(3)
                .map(|hot| {
                    let share = hot.spent / ours.took / processors as f64;
                    format!("{} {:.1} % ({})", hot.name, share * 100.0, hot.moves)
                })
                .collect();
            println!(
                "{processors:>3}  {:>7.2} {:>7.2} {:>7}   {}",
                speed_up(shape, &ours),
                speed_up(shape, &theirs),
                ours.wakes,
                hottest.join(", "),
            );
        }
    }
}
