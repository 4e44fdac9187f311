//! Contenders asked in turns, and what they answered as a table in Markdown.
//!
//! A contender is a program that says `here` once it is ready, or `missing`. Then each line that it
//! reads is a row, and the line that it answers a figure: seconds, or so many in a second.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Any;

enum Unit {
    Seconds,
    InASecond,
    MebibytesInASecond,
}

const ROWS: [(&str, &str, Unit); 8] = [
    ("trip", "round trip of one call", Unit::Seconds),
    ("chunks", "chunks in a second", Unit::InASecond),
    ("nothing", "items of nothing in a second", Unit::InASecond),
    ("1us", "items of 1 µs in a second", Unit::InASecond),
    ("1ms", "items of 1 ms in a second", Unit::InASecond),
    ("100ms", "items of 100 ms in a second", Unit::InASecond),
    ("bulk", "1 MiB there and back", Unit::MebibytesInASecond),
    ("killed", "a killed worker and 1,000 items", Unit::Seconds),
];

struct Contender {
    name: String,
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Contender {
    /// `NAME=COMMAND`; none if it says that it is missing.
    fn start(words: &str) -> Result<Option<Self>, Any> {
        let (name, command) = words.split_once('=').ok_or("NAME=COMMAND, please")?;
        let mut process = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let (to, from) = (to.ok_or("no input")?, from.ok_or("no output")?);
        let mut contender = Self {
            name: name.to_owned(),
            process,
            to,
            from: BufReader::new(from).lines(),
        };
        let here = contender.line()?;
        if here == "here" {
            return Ok(Some(contender));
        }
        println!("({name}: {here})");
        contender.process.wait()?;
        Ok(None)
    }

    fn line(&mut self) -> Result<String, Any> {
        let line = self.from.next();
        Ok(line.ok_or_else(|| format!("{} has ended", self.name))??)
    }

    fn ask(&mut self, row: &str) -> Result<f64, Any> {
        writeln!(self.to, "{row}")?;
        Ok(self.line()?.parse()?)
    }
}

/// Three digits that count, and commas.
fn digits(value: f64) -> String {
    let places = (2 - value.abs().max(1e-9).log10().floor() as i32).max(-12);
    if places > 0 {
        return format!("{value:.*}", places as usize);
    }
    let step = 10f64.powi(-places);
    let whole = format!("{:.0}", (value / step).round() * step);
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The median, and from where to where they go.
fn cell(mut values: Vec<f64>, unit: &Unit) -> String {
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    );
    let (scale, name) = match unit {
        Unit::Seconds if median < 1e-3 => (1e6, " µs"),
        Unit::Seconds if median < 1.0 => (1e3, " ms"),
        Unit::Seconds => (1.0, " s"),
        Unit::InASecond => (1.0, ""),
        Unit::MebibytesInASecond => (1.0, " MiB/s"),
    };
    let [least, median, most] = [least, median, most].map(|value| digits(value * scale));
    format!("{median}{name} ({least} to {most})")
}

/// Asks all for one row after the other, so many rounds, each of which begins with another one. One
/// round before does not count: whoever learns from what ran has learnt.
pub(crate) fn table(rounds: usize, words: &[&str]) -> Result<(), Any> {
    let mut all = Vec::new();
    for words in words {
        all.extend(Contender::start(words)?);
    }
    let mut figures = vec![[const { Vec::new() }; ROWS.len()]; all.len()];
    for round in 0..=rounds {
        for (row, (asked, ..)) in ROWS.iter().enumerate() {
            for turn in 0..all.len() {
                let who = (round + turn) % all.len();
                let figure = all[who].ask(asked)?;
                eprintln!("{round} {asked} {}: {figure}", all[who].name);
                if round > 0 {
                    figures[who][row].push(figure);
                }
            }
        }
    }
    let names: String = all.iter().map(|one| format!(" {} |", one.name)).collect();
    println!("\n| |{names}\n|---|{}", "---|".repeat(all.len()));
    for (row, (_, name, unit)) in ROWS.iter().enumerate() {
        let cells = figures.iter().map(|rows| cell(rows[row].clone(), unit));
        let cells: String = cells.map(|cell| format!(" {cell} |")).collect();
        println!("| {name} |{cells}");
    }
    for Contender {
        to, mut process, ..
    } in all
    {
        drop(to);
        process.wait()?;
    }
    Ok(())
}
