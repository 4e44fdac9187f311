//! A record: the measurements of one benchmark, as text that another program reads.
//!
//! **Job.** A benchmark runs in a process of its own, and `tables` makes documents and plots of
//! what several of them found. Between the two lies one file for each.
//!
//! **Form.** Lines of fields with tabs between them; the first field says what the line is:
//! `bench`, `load`, `note`, `row`, `goals`, `plot`, `entry`, and at last `end`. A file without its
//! `end` is of a benchmark that did not get there, and is refused. Floating-point numbers are
//! written so that they are read back exactly.
//!
//! **Not JSON:** a dependency for eight kinds of lines.
//!
//! Checked by the tests below.

use std::fmt::Write as _;

use crate::busy::Load;
use crate::rows::{Kind, Unit};

/// The fractions at which the samples of an entry are kept: enough for the curve of a
/// distribution, and few enough for a file.
pub const FRACTIONS: usize = 200;

/// One benchmark, run once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Not all of it was asked for.
    pub partial: bool,
    /// With less of everything, for a first look.
    pub quick: bool,
    /// How long it took.
    pub seconds: f64,
    /// How many processors others took meanwhile, where that is known.
    pub others: Option<f64>,
    /// How much slower than the machine that the goals were set on.
    pub slowness: f64,
    /// What else the machine did.
    pub load: Load,
    /// What the reader must know: peers that were missing.
    pub notes: Vec<String>,
    /// In order.
    pub rows: Vec<Judged>,
}

/// A row, measured and judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The work.
    pub name: String,
    /// In what it is shown.
    pub unit: Unit,
    /// In words; none: nothing is wanted.
    pub goals: String,
    /// `yes`, `here`, `no`, or nothing.
    pub verdict: String,
    /// How much more than the base it takes is shown, too.
    pub over: bool,
    /// The plot that it is drawn in, and where.
    pub plot: Option<(String, f64)>,
    /// Left out of the page.
    pub detail: bool,
    /// The contenders' figures.
    pub entries: Vec<Figure>,
}

/// The figure of one contender.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// Its role in the row.
    pub kind: Kind,
    /// What counts in this row.
    pub value: f64,
    /// The samples, sorted, at even distances; one, where there is no distribution.
    pub quantiles: Vec<f64>,
}

impl Judged {
    /// The least of a kind.
    #[must_use]
    pub fn best(&self, kind: Kind) -> Option<&Figure> {
        let of_kind = self.entries.iter().filter(|f| f.kind == kind);
        of_kind.min_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// What trefoil is compared with beside its peers: the sequential program, else the floor.
    #[must_use]
    pub fn base(&self) -> Option<&Figure> {
        self.best(Kind::Sequential).or(self.best(Kind::Floor))
    }
}

const KINDS: [(&str, Kind); 6] = [
    ("ours", Kind::Ours),
    ("ours-too", Kind::OursToo),
    ("peer", Kind::Peer),
    ("sequential", Kind::Sequential),
    ("other-order", Kind::OtherOrder),
    ("floor", Kind::Floor),
];

const UNITS: [(&str, Unit); 4] = [
    ("ns", Unit::Ns),
    ("us", Unit::Us),
    ("ms", Unit::Ms),
    ("count", Unit::Count),
];

fn word<T: PartialEq + Copy>(table: &[(&'static str, T)], value: T) -> &'static str {
    let found = table.iter().find(|(_, each)| *each == value);
    found.expect("the table has them all").0
}

fn value<T: Copy>(table: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = table.iter().find(|(each, _)| *each == word);
    found.map(|f| f.1).ok_or(format!("no such word: {word}"))
}

/// Without what separates fields and lines.
fn field(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

impl Record {
    /// As a file.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::new();
        let mut line = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|text| field(text)).collect();
            let _ = writeln!(out, "{}", fields.join("\t"));
        };
        line(&[
            "bench",
            if self.partial { "partial" } else { "whole" },
            if self.quick { "quick" } else { "full" },
            &self.seconds.to_string(),
            &self
                .others
                .map_or(String::new(), |others| others.to_string()),
            &self.slowness.to_string(),
        ]);
        line(&["load", self.load.name()]);
        for note in &self.notes {
            line(&["note", note]);
        }
        for row in &self.rows {
            let flag = |is, name| if is { name } else { "" };
            line(&[
                "row",
                word(&UNITS, row.unit),
                flag(row.over, "over"),
                flag(row.detail, "detail"),
                &row.name,
            ]);
            line(&["goals", &row.verdict, &row.goals]);
            if let Some((plot, x)) = &row.plot {
                line(&["plot", plot, &x.to_string()]);
            }
            for figure in &row.entries {
                let quantiles: Vec<String> = figure.quantiles.iter().map(f64::to_string).collect();
                line(&[
                    "entry",
                    word(&KINDS, figure.kind),
                    &figure.name,
                    &figure.value.to_string(),
                    &quantiles.join(" "),
                ]);
            }
        }
        line(&["end"]);
        out
    }

    /// From a file.
    ///
    /// # Errors
    /// In words, if it is not one or not whole.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut record = Self::default();
        let mut ended = false;
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["bench", partial, quick, seconds, others, slowness] => {
                    record.partial = partial != "whole";
                    record.quick = quick != "full";
                    record.seconds = number(seconds)?;
                    record.others = (!others.is_empty()).then(|| number(others)).transpose()?;
                    record.slowness = number(slowness)?;
                }
                ["load", load] => {
                    record.load = Load::named(load).ok_or(format!("no such load: {load}"))?;
                }
                ["note", note] => record.notes.push(note.to_owned()),
                ["row", unit, over, detail, name] => record.rows.push(Judged {
                    name: name.to_owned(),
                    unit: value(&UNITS, unit)?,
                    goals: String::new(),
                    verdict: String::new(),
                    over: over == "over",
                    plot: None,
                    detail: detail == "detail",
                    entries: Vec::new(),
                }),
                ["end"] => ended = true,
                _ => {
                    let row = record.rows.last_mut();
                    let row = row.ok_or(format!("what is this line: {line}"))?;
                    row.read(&fields)?;
                }
            }
        }
        if ended {
            Ok(record)
        } else {
            Err("it did not come to its end".to_owned())
        }
    }
}

impl Judged {
    /// One more line of it.
    fn read(&mut self, fields: &[&str]) -> Result<(), String> {
        match *fields {
            ["goals", verdict, goals] => {
                verdict.clone_into(&mut self.verdict);
                goals.clone_into(&mut self.goals);
            }
            ["plot", plot, x] => self.plot = Some((plot.to_owned(), number(x)?)),
            ["entry", kind, name, figure, quantiles] => self.entries.push(Figure {
                name: name.to_owned(),
                kind: value(&KINDS, kind)?,
                value: number(figure)?,
                quantiles: quantiles
                    .split_whitespace()
                    .map(number)
                    .collect::<Result<_, _>>()?,
            }),
            _ => return Err(format!("what is this line: {}", fields.join(" "))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        let figure = |name: &str, kind, value| Figure {
            name: name.to_owned(),
            kind,
            value,
            quantiles: vec![0.1 + 0.2, value, f64::INFINITY],
        };
        Record {
            partial: true,
            quick: false,
            seconds: 12.345_678_901,
            others: Some(0.02),
            slowness: 1.17,
            load: Load::named("busy").unwrap(),
            notes: vec!["no python3 here\tno loky".to_owned()],
            rows: vec![Judged {
                name: "`join`, a tree | of 1,023".to_owned(),
                unit: Unit::Us,
                goals: "≤ 1.00 µs, ahead".to_owned(),
                verdict: "here".to_owned(),
                over: true,
                plot: Some(("cost".to_owned(), 2.0)),
                detail: true,
                entries: vec![
                    figure("trefoil", Kind::Ours, 1.5),
                    figure("rayon", Kind::Peer, 3.0),
                    figure("chili", Kind::Peer, 2.0),
                    figure("by hand", Kind::Floor, 0.0),
                ],
            }],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut sample = sample();
        let read = Record::read(&sample.write()).unwrap();
        sample.notes[0] = sample.notes[0].replace('\t', " ");
        assert_eq!(read, sample);
        let empty = Record {
            others: None,
            ..Record::default()
        };
        assert_eq!(Record::read(&empty.write()).unwrap(), empty);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let text = sample().write();
        let cut = text.strip_suffix("end\n").unwrap();
        assert!(Record::read(cut).unwrap_err().contains("end"));
        assert!(Record::read("").is_err());
        assert!(Record::read("entry\tours\tname\t1\t\nend\n").is_err());
        for (from, to) in [
            ("\tus\t", "\tparsec\t"),
            ("\tpeer\t", "\tfoe\t"),
            ("\t1.5\t", "\tx\t"),
        ] {
            assert!(Record::read(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }

    #[test]
    fn the_least_is_the_best() {
        let row = &sample().rows[0];
        assert_eq!(row.best(Kind::Peer).unwrap().name, "chili");
        assert_eq!(row.best(Kind::OursToo), None);
        assert_eq!(row.base().unwrap().name, "by hand");
    }
}
