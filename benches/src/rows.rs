//! Rows: one question, all who answer it, and the goal that trefoil has set itself.
//!
//! **Job.** Measure the entries of a question in interleaved rounds, print what each
//! costs beside the best peer and beside the sequential program, and judge the goal.
//!
//! **How.** Every round runs every entry once, beginning with another one each time, so
//! that nobody always follows the same neighbour. Before each entry the process
//! sleeps for [`SETTLE`]: pools that spin before they sleep have stopped by then. The first
//! round warms up and is not counted. An entry that works on something hot begins
//! with an unmeasured tenth of its work.
//!
//! **Judged.** On the median of all samples (or their 99th percentile), with
//! [`SLACK`] for the noise of the machine. Goals in nanoseconds were set on one machine; on one
//! that is slower (by [`slowness`]) a goal can also be met "here", multiplied by
//! that. Ratios are never scaled.
//!
//! **Trusted.** Only on a quiet machine: what others computed meanwhile is printed for
//! every group and at the end, in processors.

use std::time::{Duration, Instant};

use crate::machine::{Stretch, slowness};

/// The pause before each entry.
pub const SETTLE: Duration = Duration::from_micros(300);

/// A goal is met within three percent.
pub const SLACK: f64 = 1.03;

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Only that it runs.
    Test,
    /// Rough figures in half a minute.
    Quick,
    /// What the tables are made of.
    Full,
}

/// Who is it?
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

/// What trefoil wants.
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
#[derive(Clone, Copy, Debug)]
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
    fn show(self, ns: f64) -> String {
        let (value, unit) = match self {
            Self::Ns => (ns, " ns"),
            Self::Us => (ns / 1e3, " µs"),
            Self::Ms => (ns / 1e6, " ms"),
            Self::Count => (ns, ""),
        };
        format!("{}{unit}", number(value))
    }
}

fn number(value: f64) -> String {
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
    name: &'static str,
    kind: Kind,
    run: Run<'a>,
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

    /// Does the work as often as told, hot; the sample is the time of each.
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
pub struct Measured(Vec<(&'static str, Kind, Vec<f64>)>);

impl Measured {
    /// From figures that were not taken by [`Bench::measure`].
    pub fn new(figures: Vec<(&'static str, Kind, Vec<f64>)>) -> Self {
        Self(figures)
    }

    /// One figure for each entry: the `fraction`-th of its samples, 0.5 the median.
    fn at(&self, fraction: f64) -> Vec<(&'static str, Kind, f64)> {
        let figure = |samples: &Vec<f64>| {
            let mut sorted = samples.clone();
            sorted.sort_by(f64::total_cmp);
            sorted[((sorted.len() - 1) as f64 * fraction).round() as usize]
        };
        let all = self.0.iter();
        all.map(|(name, kind, samples)| (*name, *kind, figure(samples)))
            .collect()
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
}

impl Row {
    /// A row of medians.
    pub fn new(name: impl Into<String>, unit: Unit, goals: &'static [Goal]) -> Self {
        Self {
            name: name.into(),
            unit,
            goals,
            fraction: 0.5,
        }
    }

    /// A row of 99th percentiles, which has no goal.
    pub fn p99(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            fraction: 0.99,
            ..Self::new(name, unit, &[])
        }
    }
}

/// One run of a benchmark.
pub struct Bench {
    /// How much of everything.
    pub scale: Scale,
    only: Vec<String>,
    list: bool,
    markdown: bool,
    lines: Vec<String>,
    missed: usize,
    whole: Stretch,
}

impl Bench {
    /// As the command line says. Without `--bench`, which `cargo bench` adds and `cargo
    /// test` does not, it is a test that everything runs.
    pub fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        let scale = if has("--test") || !has("--bench") {
            Scale::Test
        } else if has("--quick") {
            Scale::Quick
        } else {
            Scale::Full
        };
        let mut only = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            let value = match arg.strip_prefix("--only") {
                Some("") => args.get(i + 1).cloned().unwrap_or_default(),
                Some(value) => value.trim_start_matches('=').to_owned(),
                None => continue,
            };
            only.extend(value.split(',').map(str::to_owned));
        }
        Self {
            scale,
            only,
            list: has("--list"),
            markdown: has("--markdown"),
            lines: Vec::new(),
            missed: 0,
            whole: Stretch::begin(),
        }
    }

    /// Runs a group of rows, if the command line wants it.
    pub fn group(&mut self, name: &str, rows: impl FnOnce(&mut Self)) {
        if self.list {
            println!("{name}");
        } else if self.only.is_empty() || self.only.iter().any(|only| name.contains(only)) {
            let stretch = Stretch::begin();
            rows(self);
            if self.scale != Scale::Test && !self.markdown {
                println!("    ({name}: {})", stretch.end());
            }
        }
    }

    /// One of three, by scale.
    pub fn pick<T>(&self, test: T, quick: T, full: T) -> T {
        match self.scale {
            Scale::Test => test,
            Scale::Quick => quick,
            Scale::Full => full,
        }
    }

    /// Rounds for a row of ordinary length.
    pub fn rounds(&self) -> usize {
        self.pick(1, 5, 15)
    }

    /// Rounds for a row that takes long.
    pub fn few_rounds(&self) -> usize {
        self.pick(1, 3, 9)
    }

    /// Interleaved rounds of all entries.
    pub fn measure(&self, rounds: usize, mut entries: Vec<Entry<'_>>) -> Measured {
        let mut samples = vec![Vec::new(); entries.len()];
        for round in 0..=rounds {
            for turn in 0..entries.len() {
                let at = (turn + round) % entries.len();
                let mut taken = Vec::new();
                std::thread::sleep(SETTLE);
                (entries[at].run)(&mut taken);
                if round > 0 {
                    samples[at].append(&mut taken);
                }
            }
        }
        let named = entries.iter().zip(samples);
        Measured(named.map(|(e, s)| (e.name, e.kind, s)).collect())
    }

    /// Prints a row and judges it.
    pub fn report(&mut self, row: Row, measured: &Measured) {
        let figures = measured.at(row.fraction);
        let best = |kind| {
            let of_kind = figures.iter().filter(move |f| f.1 == kind);
            of_kind.min_by(|a, b| a.2.total_cmp(&b.2)).copied()
        };
        let peer = best(Kind::Peer);
        let base = best(Kind::Sequential).or(best(Kind::Floor));
        let other = best(Kind::OtherOrder);
        let ours = best(Kind::Ours).map(|f| f.2);
        let show = |value| row.unit.show(value);
        let times = |value: f64, of: Option<(&str, Kind, f64)>| match of {
            Some((_, _, of)) if of > 0.0 => format!("×{:.2}", value / of),
            _ => String::new(),
        };

        let over = row.goals.iter().any(|goal| matches!(goal, Goal::Over(_)));

        let mut met = true;
        let mut met_here = true;
        let mut goals = Vec::new();
        for goal in row.goals {
            let (name, _, base) = base.unwrap_or(("", Kind::Floor, f64::NAN));
            let value = ours.unwrap_or(f64::NAN);
            let most = |most: f64| (value <= most * SLACK, value <= most * SLACK * slowness());
            let plain = |met| (met, met);
            let (words, reached) = match *goal {
                Goal::AtMost(ns) => (format!("≤ {}", show(ns)), most(ns)),
                Goal::Over(ns) => {
                    let over = value - base;
                    let here = over <= ns * SLACK * slowness();
                    let words = format!("≤ sequential + {}", show(ns));
                    (words, (over <= ns * SLACK, here))
                }
                Goal::Times(x) => {
                    let reached = value <= base * x * SLACK;
                    (format!("≤ ×{x:.2} of {name}"), plain(reached))
                }
                Goal::Speedup(x) => {
                    let reached = base / value * SLACK >= x;
                    (format!("{x:.2} times as fast"), plain(reached))
                }
                Goal::Ahead => {
                    let reached = peer.is_none_or(|f| value <= f.2 * SLACK);
                    ("ahead".to_owned(), plain(reached))
                }
                Goal::Nothing => ("0".to_owned(), plain(value == 0.0)),
            };
            met &= reached.0;
            met_here &= reached.1;
            goals.push(words);
        }
        let goals = goals.join(", ");
        let verdict = match (met, met_here) {
            _ if row.goals.is_empty() => "",
            (true, _) => "yes",
            (false, true) => "here",
            (false, false) => "no",
        };
        self.missed += usize::from(verdict == "no");

        if self.scale == Scale::Test {
            println!("{}: runs", row.name);
            return;
        }
        if self.markdown {
            let others = figures.iter().filter(|f| {
                f.1 == Kind::Peer && Some(f.0) != peer.map(|p| p.0) || f.1 == Kind::OursToo
            });
            let others: Vec<String> = others.map(|f| format!("{} {}", f.0, show(f.2))).collect();
            let named = |f: Option<(&str, Kind, f64)>| {
                f.map_or(String::new(), |f| format!("{} {}", f.0, show(f.2)))
            };
            let against = |f| ours.map_or(String::new(), |value| times(value, f));
            let mut more = match (ours, base) {
                (Some(value), Some(base)) if over => format!(", {} more", show(value - base.2)),
                _ => String::new(),
            };
            if let Some(other) = other {
                more += &format!(" ({} of {})", against(Some(other)), named(Some(other)));
            }
            self.lines.push(format!(
                "| {} | {} | {} | {} | {} | {}{more} | {} | {goals} | {verdict} |",
                row.name,
                ours.map_or(String::new(), show),
                named(peer),
                against(peer),
                named(base),
                against(base),
                others.join(", "),
            ));
            return;
        }
        println!("\n{}", row.name);
        for (name, kind, value) in &figures {
            let mut line = format!("  {name:<32} {:>11}", show(*value));
            if matches!(kind, Kind::Ours | Kind::OursToo | Kind::Peer) {
                for of in [peer, base, other]
                    .into_iter()
                    .flatten()
                    .filter(|of| of.2 > 0.0)
                {
                    line += &format!("  {:>6} of {}", times(*value, Some(of)), of.0);
                }
                if let Some(base) = base.filter(|_| over) {
                    line += &format!(" ({} more)", show(value - base.2));
                }
            }
            println!("{line}");
        }
        if !goals.is_empty() {
            let words = match verdict {
                "yes" => "met",
                "here" => "met, for so slow a machine",
                _ => "MISSED",
            };
            println!("  goal: {goals}: {words}");
        }
    }

    /// Prints the table, if one was asked for.
    pub fn finish(self) {
        if self.markdown {
            println!(
                "| work | trefoil | best peer | × | sequential or floor | × | others | goal | met |"
            );
            println!("|---|---|---|---|---|---|---|---|---|");
            self.lines.iter().for_each(|line| println!("{line}"));
        }
        if self.scale != Scale::Test && !self.list {
            println!(
                "\n{} goals missed; {}. This machine takes {} times as long as the one that the goals were set on; \"here\": a goal in time is met when multiplied by that.",
                self.missed,
                self.whole.end(),
                number(slowness())
            );
        }
    }
}
