//! A benchmark: groups of rows, run as the command line says.
//!
//! **How.** Every round runs every entry once, beginning with another one each time, so that no
//! entry always follows the same neighbour. Before each entry the process sleeps for [`SETTLE`]:
//! pools that spin before they sleep have stopped by then. The first round warms up and is not
//! counted. An entry that works on something hot begins with an unmeasured tenth of its work.
//!
//! **Then.** Each row is judged (`judge.rs`) and printed as it comes. With `--record FILE` all of
//! them go into that file (`record.rs`), of which `tables` makes the documents. It is written anew
//! after each row, so that a run that is cut short leaves a record of a part.

use std::path::PathBuf;
use std::time::Duration;

use crate::busy::{Competitors, Load, compete};
use crate::judge::judge;
use crate::machine::{Stretch, slowness};
use crate::record::Record;
use crate::report::{scaling, table};
use crate::rows::{Entry, Measured, Row, number};

/// The pause before each entry.
pub const SETTLE: Duration = Duration::from_micros(300);

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

/// One run of a benchmark.
pub struct Bench {
    /// How much of everything.
    pub scale: Scale,
    only: Vec<String>,
    list: bool,
    markdown: bool,
    file: Option<PathBuf>,
    record: Record,
    whole: Stretch,
    _competitors: Competitors,
}

/// What follows `flag` on the command line, each time.
fn values(args: &[String], flag: &str) -> Vec<String> {
    let mut values = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        match arg.strip_prefix(flag) {
            Some("") => values.extend(args.get(i + 1).cloned()),
            Some(value) => values.extend(value.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    values
}

impl Bench {
    /// As the command line says (`--note TEXT`: what a reader of the record must know; `--load
    /// NAME`: what else computes meanwhile, see [`LOADS`](crate::busy::LOADS)). Without `--bench`,
    /// which `cargo bench` adds and `cargo test` does not, it is a test that everything runs.
    ///
    /// To be called before anything is started: a load may confine this thread, and what it
    /// starts, to one processor.
    ///
    /// # Panics
    /// If there is no such load.
    pub fn from_args() -> Self {
        compete();
        let args: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        let scale = if has("--test") || !has("--bench") {
            Scale::Test
        } else if has("--quick") {
            Scale::Quick
        } else {
            Scale::Full
        };
        let only = values(&args, "--only");
        let only: Vec<String> = only
            .iter()
            .flat_map(|value| value.split(',').map(str::to_owned))
            .collect();
        let list = has("--list");
        let load = values(&args, "--load").pop();
        let load = load.map_or(Load::default(), |name| {
            Load::named(&name).unwrap_or_else(|| panic!("no such load: {name}"))
        });
        let slowness = slowness(); // of the machine, and not of its load
        Self {
            scale,
            list,
            markdown: has("--markdown"),
            file: values(&args, "--record").pop().map(PathBuf::from),
            record: Record {
                partial: list || !only.is_empty(),
                quick: scale != Scale::Full,
                slowness,
                load,
                notes: values(&args, "--note"),
                ..Record::default()
            },
            only,
            whole: Stretch::begin(),
            _competitors: load.begin(),
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
        self.pick(1, 3, 9)
    }

    /// Rounds for a row that takes long.
    pub fn few_rounds(&self) -> usize {
        self.pick(1, 2, 7)
    }

    /// What a reader of the table must know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.record.notes.push(note.into());
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

    /// Judges a row and prints it.
    pub fn report(&mut self, row: Row, measured: &Measured) {
        let judged = judge(&row, measured);
        if self.scale == Scale::Test {
            println!("{}: runs", judged.name);
        } else if !self.markdown {
            print!("{}", table::plain(&judged));
        }
        self.record.rows.push(judged);
        let partial = std::mem::replace(&mut self.record.partial, true);
        self.save();
        self.record.partial = partial;
    }

    fn save(&self) {
        if let Some(file) = &self.file {
            let written = std::fs::write(file, self.record.write());
            written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    /// Prints a line for each work, and a column for each number of workers.
    pub fn summary(&self) {
        if self.scale != Scale::Test && !self.list {
            println!("\n{}", scaling::table(&self.record.rows));
        }
    }

    /// Prints the table, if one was asked for, and writes the record.
    pub fn finish(mut self) {
        self.record.seconds = self.whole.seconds();
        self.record.others = self.whole.others();
        let missed = self.record.rows.iter().filter(|row| row.verdict == "no");
        let missed = missed.count();
        if self.markdown && self.scale != Scale::Test {
            print!("{}", table::details(&self.record.rows));
        }
        if self.scale != Scale::Test && !self.list {
            println!(
                "\n{missed} goals missed; {}. This machine takes {} times as long as the one that the goals were set on; \"here\": a goal in time is met when multiplied by that.",
                self.whole.end(),
                number(slowness())
            );
        }
        self.save();
    }
}
