//! Rows: one question, the contenders that answer it, and the goal for trefoil.
//!
//! **Job.** Describes what is measured: entries (which contender does the work, and how its time is
//! taken), the row that they make, its goals. [`Bench`] measures them, `judge.rs` judges,
//! `record.rs` keeps the results.
//!
//! **Trusted.** Only on a quiet machine: what others computed meanwhile is printed for
//! every group and at the end, in processors.

use std::time::{Duration, Instant};

pub use crate::bench::{Bench, SETTLE, Scale};
pub use crate::judge::SLACK;

/// The role of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// trefoil, judged.
    Ours,
    /// trefoil in another manner, shown beside.
    OursToo,
    /// A library, or what one would write by hand with std.
    Peer,
    /// The same work without threads; of several, the best counts.
    Sequential,
    /// The same work without threads in another order or manner: shown beside.
    OtherOrder,
    /// What no pool can be expected to beat.
    Floor,
}

/// A goal for trefoil.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// So many nanoseconds at most.
    AtMost(f64),
    /// So many nanoseconds more than sequential at most.
    Over(f64),
    /// At most this multiple of sequential (or of the floor).
    Times(f64),
    /// At least this often as fast as sequential.
    Speedup(f64),
    /// No peer costs less.
    Ahead,
    /// Exactly nothing.
    Nothing,
}

/// In what a row is printed; measured is in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// A plain number.
    Count,
}

impl Unit {
    /// A figure with its unit.
    #[must_use]
    pub fn show(self, ns: f64) -> String {
        let (value, unit) = match self {
            Self::Ns => (ns, " ns"),
            Self::Us => (ns / 1e3, " µs"),
            Self::Ms => (ns / 1e6, " ms"),
            Self::Count => (ns, ""),
        };
        format!("{}{unit}", number(value))
    }
}

/// Three digits, as far as there are.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 1.0 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Measures, and adds its samples.
type Run<'a> = Box<dyn FnMut(&mut Vec<f64>) + 'a>;

/// One way to do the work.
pub struct Entry<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) run: Run<'a>,
}

impl<'a> Entry<'a> {
    /// Measures itself, and adds as many samples as it likes, in nanoseconds.
    pub fn samples(kind: Kind, name: &'static str, run: impl FnMut(&mut Vec<f64>) + 'a) -> Self {
        let run = Box::new(run);
        Self { name, kind, run }
    }

    /// Does the whole work once; the sample is its time by `ops`.
    pub fn whole(kind: Kind, name: &'static str, ops: u64, mut run: impl FnMut() + 'a) -> Self {
        Self::samples(kind, name, move |samples| {
            let start = Instant::now();
            run();
            samples.push(start.elapsed().as_nanos() as f64 / ops as f64);
        })
    }

    /// Does the work as often as asked, hot; the sample is the time of each.
    pub fn hot(kind: Kind, name: &'static str, n: u64, mut run: impl FnMut(u64) + 'a) -> Self {
        Self::samples(kind, name, move |samples| {
            run(n.div_ceil(10));
            let start = Instant::now();
            run(n);
            samples.push(start.elapsed().as_nanos() as f64 / n as f64);
        })
    }

    /// As [`hot`](Self::hot), for work that must be measured inside a pool: `run` gives
    /// the time that it took. The sample is that by `n` and by `ops`.
    pub fn inside(
        kind: Kind,
        name: &'static str,
        n: u64,
        ops: u64,
        mut run: impl FnMut(u64) -> Duration + 'a,
    ) -> Self {
        Self::samples(kind, name, move |samples| {
            let time = run(n);
            samples.push(time.as_nanos() as f64 / n as f64 / ops as f64);
        })
    }
}

/// The time of `n` times `work`, after a tenth of that to warm up.
pub fn clock(n: u64, mut work: impl FnMut()) -> Duration {
    (0..n.div_ceil(10)).for_each(|_| work());
    let start = Instant::now();
    (0..n).for_each(|_| work());
    start.elapsed()
}

/// What the entries of one question needed.
pub struct Measured(pub(crate) Vec<(&'static str, Kind, Vec<f64>)>);

impl Measured {
    /// From figures that were not taken by [`Bench::measure`].
    pub fn new(figures: Vec<(&'static str, Kind, Vec<f64>)>) -> Self {
        Self(figures)
    }

    /// The entries for which `keep` gives the part that they play; for rows that share
    /// a measurement.
    #[must_use]
    pub fn select(&self, keep: impl Fn(&str, Kind) -> Option<Kind>) -> Self {
        let all = self.0.iter().filter_map(|(name, kind, samples)| {
            keep(name, *kind).map(|kind| (*name, kind, samples.clone()))
        });
        Self(all.collect())
    }
}

/// A row of the table.
pub struct Row {
    /// The work.
    pub name: String,
    /// How its figures are printed.
    pub unit: Unit,
    /// All must be met; none: it is only shown.
    pub goals: &'static [Goal],
    /// Which fraction of the samples counts: 0.5 is the median.
    pub fraction: f64,
    /// The plot in which it is drawn, and where: at how many workers or bytes.
    pub plot: Option<(&'static str, f64)>,
    /// Left out of the page, which shows others like it, or a plot of it.
    pub detail: bool,
}

impl Row {
    /// A row of medians.
    pub fn new(name: impl Into<String>, unit: Unit, goals: &'static [Goal]) -> Self {
        Self {
            name: name.into(),
            unit,
            goals,
            fraction: 0.5,
            plot: None,
            detail: false,
        }
    }

    /// Only in the table of details.
    #[must_use]
    pub fn detail(mut self, detail: bool) -> Self {
        self.detail = detail;
        self
    }

    /// Drawn in that plot (`report/plots.rs` has the list), at `x` where it has such an axis.
    #[must_use]
    pub fn on(mut self, plot: &'static str, x: f64) -> Self {
        self.plot = Some((plot, x));
        self
    }

    /// A row of 99th percentiles, which has no goal.
    pub fn p99(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            fraction: 0.99,
            ..Self::new(name, unit, &[])
        }
    }
}
