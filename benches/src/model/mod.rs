//! What more processors would do: a model of the pool's protocol, and of rayon's, on a machine with
//! as many as one likes.
//!
//! **Job.** The model runs each protocol step by step on a modelled machine (`machine.rs`), and
//! each step costs what it costs on a real one: [`Costs`], which the bench `scaling` measures. That
//! bench runs the same [`Shape`]s on the real pools, so that the prediction stands beside the
//! measurement, where there is one.
//!
//! Checked by the tests below.

mod machine;
mod pool;
mod rayon;
mod trefoil;

use std::cell::Cell;
use std::rc::Rc;

pub use self::machine::{Costs, Hot, Report};
use self::machine::{Machine, Step};
use self::pool::{Entry, Load, Pool, Work};
use crate::record::Judged;
use crate::rows::Kind;

/// Measured on two processors of a server; others differ by a factor, not by ten.
pub const COSTS: Costs = Costs {
    hit: 1.0,
    atomic: 5.0,
    transfer: 60.0,
    wake: 2_500.0,
    latency: 5_000.0,
    turn: 300.0,
};

/// A load, and how it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A tree of joins of this depth, whose leaves take this long, in nanoseconds.
    Joins(u32, f64),
    /// A map over this many items of this length.
    Even(usize, f64),
    /// A map over this many items; the last takes this long, the others proportionally less.
    Rising(usize, f64),
    /// This many tasks of this length, spawned by a thread that is no worker.
    Outside(usize, f64),
    /// A tree of tasks of this depth, each of which takes this long and spawns two.
    Inside(u32, f64),
}

/// What is modelled and measured, under the name that it has in the bench.
pub const WORKS: [(&str, Shape); 7] = [
    ("join, leaves of 1 µs", Shape::Joins(13, 1e3)),
    ("join, leaves of 50 ns", Shape::Joins(16, 50.0)),
    ("`map` of 10^6 items of 5 ns", Shape::Even(1_000_000, 5.0)),
    ("`map` of 256 items of 20 µs", Shape::Even(256, 2e4)),
    (
        "`map` of 1,000 items of 0 to 20 µs, rising",
        Shape::Rising(1_000, 2e4),
    ),
    (
        "20,000 tasks of 1 µs, spawned by one thread from outside",
        Shape::Outside(20_000, 1e3),
    ),
    (
        "a scope's tree of 16,383 tasks of 1 µs",
        Shape::Inside(13, 1e3),
    ),
];

impl Shape {
    /// The work of that name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let found = WORKS.iter().find(|work| work.0 == name);
        found.unwrap_or_else(|| panic!("no work is named {name}")).1
    }

    /// How long one processor computes, in nanoseconds.
    fn total(self) -> f64 {
        match self {
            Self::Joins(depth, leaf) => f64::from(1 << depth) * leaf,
            Self::Even(items, each) => items as f64 * each,
            Self::Rising(items, last) => last * (items as f64 + 1.0) / 2.0,
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
            Self::Rising(items, last) => (
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
            Shape::Even(items, _) | Shape::Rising(items, _) => {
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

/// Whose protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// trefoil's.
    Ours,
    /// rayon's.
    Rayons,
}

/// Runs it on so many modelled processors.
#[must_use]
pub fn simulate(shape: Shape, processors: usize, whose: Whose, costs: Costs) -> Report {
    let all = processors + shape.outside();
    let machine = Machine::new(all, costs);
    let pool: Rc<dyn Pool> = match whose {
        Whose::Ours => Rc::new(trefoil::Trefoil::new(&machine, all, shape.outside())),
        Whose::Rayons => Rc::new(rayon::Rayon::new(&machine, all, shape.outside())),
    };
    let load = shape.load();
    let mut programs = vec![program(&*pool, &load, shape)];
    programs.extend((1..all).map(|processor| pool.worker(&load, processor)));
    machine.run(programs)
}

/// How many times as fast as one processor without a pool.
#[must_use]
pub fn speed_up(shape: Shape, report: &Report) -> f64 {
    shape.total() / report.took
}

/// The costs of the machine that these rows were measured on; what they do not say is as in
/// [`COSTS`].
#[must_use]
pub fn costs_of(rows: &[Judged]) -> Costs {
    let median = |is_it: &dyn Fn(&str) -> bool, otherwise: f64| {
        let figures = rows.iter().filter(|row| is_it(&row.name));
        let figures = figures.filter_map(|row| Some(row.best(Kind::Floor)?.value));
        match figures.collect::<Vec<f64>>() {
            none if none.is_empty() => otherwise,
            all => crate::median(all),
        }
    };
    let named = |name: &str, otherwise| median(&|row| row.starts_with(name), otherwise);
    let alone = "a counter that all change, each time, workers: 1";
    Costs {
        hit: COSTS.hit,
        atomic: median(&|row| row == alone, COSTS.atomic),
        transfer: named("a cache line between", COSTS.transfer),
        wake: named("waking a thread: the caller", COSTS.wake),
        latency: named("waking a thread: until it runs", COSTS.latency),
        turn: named("giving up the processor", COSTS.turn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::rows::{Measured, Row, Unit};

    #[test]
    fn every_work_ends_and_more_processors_help() {
        for (name, shape) in WORKS {
            for whose in [Whose::Ours, Whose::Rayons] {
                let one = speed_up(shape, &simulate(shape, 1, whose, COSTS));
                let four = speed_up(shape, &simulate(shape, 4, whose, COSTS));
                assert!(
                    one < 1.01 && four > 1.5 * one,
                    "{name} {whose:?}: {one} {four}"
                );
            }
        }
    }

    #[test]
    fn costs_are_taken_from_rows() {
        let row = |name: &str, value: f64| {
            let figures = vec![("it", Kind::Floor, vec![value])];
            judge(&Row::new(name, Unit::Ns, &[]), &Measured::new(figures))
        };
        let rows = [
            row("a cache line between processors 0 and 1", 40.0),
            row("a cache line between processors 0 and 2", 80.0),
            row("a cache line between processors 0 and 3", 90.0),
            row("waking a thread: the caller", 7e3),
            row("a counter that all change, each time, workers: 1", 6.0),
            row("a counter that all change, each time, workers: 16", 20.0),
        ];
        let costs = costs_of(&rows);
        assert_eq!((costs.transfer, costs.wake), (80.0, 7e3));
        assert_eq!(costs.atomic, 6.0);
        assert_eq!((costs.latency, costs.turn), (COSTS.latency, COSTS.turn));
    }
}
