//! A table by the number of workers.
//!
//! Rows whose names differ only behind `, workers: ` are one work. Each of its contenders has a
//! line: trefoil, rayon, and the best of the others at the most workers. A figure is how many times
//! as fast as the loop it was; where there is no loop, its time.
//!
//! The plots are drawn of the table as it is in the document, so that both say the same.
//!
//! Checked by the tests below, and by those of `tables`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::record::{Figure, Judged};
use crate::report::draw::{self, Line, Part, Scale};
use crate::rows::{Kind, number};

/// A plot of one work of the table.
#[derive(Debug)]
pub struct Plot {
    /// Its file is `docs/plots/<id>.svg`.
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The row of the table.
    work: &'static str,
    /// What the vertical axis counts.
    unit: &'static str,
}

/// All of them.
pub const PLOTS: &[Plot] = &[
    Plot {
        id: "scaling-join",
        title: "`join`, leaves of 1 µs: times as fast as the loop, measured on 16 processors",
        work: "join, leaves of 1 µs",
        unit: "times as fast",
    },
    Plot {
        id: "scaling-map",
        title: "`map` of 1,000 uneven items: times as fast as the loop, measured on 16 processors",
        work: "`map` of 1,000 items of 20 µs to 1 ms, dearest last",
        unit: "times as fast",
    },
    Plot {
        id: "scaling-processes",
        title: "`map` in processes, items of 20 µs: times as fast as the loop, measured on 16 processors",
        work: "`map` in processes of 2,000 items of 20 µs",
        unit: "times as fast",
    },
];

/// The cells of a table's row.
fn cells(line: &str) -> Vec<&str> {
    let inside = line.trim().trim_matches('|');
    inside.split('|').map(str::trim).collect()
}

/// The number that a cell begins with; NaN, which is not drawn, where there is none.
fn value(cell: &str) -> f64 {
    let first = cell.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or(f64::NAN)
}

fn part(contender: &str) -> Part {
    match contender {
        "trefoil" => Part::Ours,
        other if other.starts_with("std::") || other.ends_with("by hand in chunks") => Part::Base,
        _ => Part::Peer,
    }
}

/// A line for each contender of that work.
fn measured(results: &str, work: &str) -> Result<Vec<Line>, String> {
    let mut lines = results.lines();
    let head = lines.find(|line| line.starts_with("| work | by |"));
    let head = cells(head.ok_or("there is no table by workers")?);
    let widths: Vec<f64> = head[2..].iter().map(|cell| value(cell)).collect();
    let first = format!("| {work} |");
    let mut rows = lines.skip_while(|line| !line.starts_with(&first));
    let mut found: Vec<&str> = rows.next().into_iter().collect();
    found.extend(rows.take_while(|line| line.starts_with("|  |")));
    let line = |row: &&str| {
        let cells = cells(row);
        let values = cells[2..].iter().map(|cell| value(cell));
        Line {
            name: cells[1].to_owned(),
            part: part(cells[1]),
            points: widths.iter().copied().zip(values).collect(),
        }
    };
    match found.is_empty() {
        true => Err(format!("the table by workers has no row {work:?}")),
        false => Ok(found.iter().map(line).collect()),
    }
}

/// As SVG, of the document of all tables.
///
/// # Errors
/// If a row is missing, or it cannot be drawn.
pub fn svg(plot: &Plot, results: &str) -> Result<String, String> {
    let lines = measured(results, plot.work)?;
    let machine = results
        .split("Measured on ")
        .nth(1)
        .and_then(|text| text.split(" UTC").next())
        .ok_or("the table by workers does not say where it was measured")?;
    let page = draw::Page {
        title: plot.title,
        below: &format!("measured on {machine} UTC"),
    };
    page.lines(("workers", Scale::Twos), (plot.unit, Scale::Even), &lines)
}

/// What the document says below the table.
///
/// # Errors
/// If it says nothing.
pub fn verdict_of(results: &str) -> Result<&str, String> {
    let mut lines = results.lines();
    let verdict = lines.find(|line| line.starts_with("At ") && line.contains(" works that rayon"));
    verdict.ok_or_else(|| "the table by workers has no verdict".to_owned())
}

/// The work, and how many workers.
fn parts(row: &Judged) -> Option<(&str, usize)> {
    let (work, workers) = row.name.rsplit_once(", workers: ")?;
    Some((work, workers.parse().ok()?))
}

/// One work, by more and more workers.
struct Work<'a> {
    name: &'a str,
    rows: Vec<(usize, &'a Judged)>,
}

impl<'a> Work<'a> {
    fn of(rows: &'a [Judged]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for row in rows {
            let Some((name, workers)) = parts(row) else {
                continue;
            };
            match all.iter_mut().find(|work| work.name == name) {
                Some(work) => work.rows.push((workers, row)),
                None => all.push(Self {
                    name,
                    rows: vec![(workers, row)],
                }),
            }
        }
        all
    }

    fn figure(&self, workers: usize, contender: &str) -> Option<(&'a Judged, &'a Figure)> {
        let row = self.rows.iter().find(|row| row.0 == workers)?.1;
        let figure = row.entries.iter().find(|figure| figure.name == contender);
        Some((row, figure?))
    }

    /// In the order in which they are shown.
    fn contenders(&self) -> Vec<&'a str> {
        let Some((_, widest)) = self.rows.last() else {
            return Vec::new();
        };
        let named = |figure: &&Figure| figure.name.starts_with("rayon");
        let peers = || widest.entries.iter().filter(|f| f.kind == Kind::Peer);
        let rayon = peers().find(named);
        let best = peers().filter(|figure| !named(figure));
        let best = best.min_by(|a, b| a.value.total_cmp(&b.value));
        let floor = widest.entries.iter().find(|f| f.kind == Kind::Floor);
        let all = [widest.best(Kind::Ours), rayon, best, floor];
        all.into_iter().flatten().map(|f| f.name.as_str()).collect()
    }
}

/// How trefoil does compared with rayon at the most workers: ahead, level (within a tenth), behind.
fn verdict(works: &[Work<'_>]) -> Option<String> {
    let most = works
        .iter()
        .flat_map(|work| &work.rows)
        .map(|row| row.0)
        .max()?;
    let times = |work: &Work<'_>| {
        let (_, row) = work.rows.iter().find(|row| row.0 == most)?;
        let rayon = row
            .entries
            .iter()
            .find(|figure| figure.name.starts_with("rayon"))?;
        Some(row.best(Kind::Ours)?.value / rayon.value)
    };
    let times: Vec<f64> = works.iter().filter_map(times).collect();
    let count = |which: fn(f64) -> bool| times.iter().filter(|times| which(**times)).count();
    let behind = count(|times| times > 1.1);
    let level = count(|times| (1.0 / 1.1..=1.1).contains(&times));
    Some(format!(
        "At {most} workers, of {} works that rayon does, too: ahead of it in {}, level in {level}, behind in {behind}, by up to ×{:.2}.",
        times.len(),
        times.len() - behind - level,
        times.iter().copied().fold(0.0, f64::max)
    ))
}

/// Markdown.
#[must_use]
pub fn table(rows: &[Judged]) -> String {
    let works = Work::of(rows);
    let widths = works
        .iter()
        .flat_map(|work| work.rows.iter().map(|row| row.0));
    let widths: BTreeSet<usize> = widths.collect();
    let mut out = "| work | by |".to_owned();
    widths
        .iter()
        .for_each(|width| _ = write!(out, " {width} |"));
    out += "\n|---|---|";
    widths.iter().for_each(|_| out += "---|");
    out.push('\n');
    for work in &works {
        for (nth, contender) in work.contenders().into_iter().enumerate() {
            let name = if nth == 0 { work.name } else { "" };
            let _ = write!(out, "| {name} | {contender} |");
            for width in &widths {
                let cell = match work.figure(*width, contender) {
                    None => String::new(),
                    Some((row, figure)) => match row.best(Kind::Sequential) {
                        Some(base) => number(base.value / figure.value),
                        None => row.unit.show(figure.value),
                    },
                };
                let _ = write!(out, " {cell} |");
            }
            out.push('\n');
        }
    }
    if let Some(verdict) = verdict(&works) {
        let _ = writeln!(out, "\n{verdict}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::rows::{Measured, Row, Unit};

    #[test]
    fn a_plot_shows_what_the_documents_say() {
        let results = "Measured on 4 processors, 1 May UTC. 3 s.\n\n| work | by | 1 | 2 |\n|---|---|---|---|\n\
                       | other | trefoil | 7.0 | 8.0 |\n| a | trefoil | 630 ns | 571 ns |\n\
                       |  | rayon, scope | 380 ns |  |\n| b | trefoil | 1 | 2 |\n";
        let lines = measured(results, "a").unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].points, [(1.0, 630.0), (2.0, 571.0)]);
        assert!(lines[1].name == "rayon, scope" && lines[1].points[1].1.is_nan());
        assert!(measured(results, "c").is_err());
        let plot = Plot {
            id: "p",
            title: "of `a`",
            work: "a",
            unit: "ns",
        };
        let svg = svg(&plot, results).unwrap();
        let xml = roxmltree::Document::parse(&svg).unwrap();
        let texts = xml.descendants().filter(|node| node.has_tag_name("text"));
        let texts: String = texts.flat_map(|node| node.text()).collect();
        for wanted in [
            "of a",
            "measured on 4 processors, 1 May UTC",
            "rayon, scope",
        ] {
            assert!(texts.contains(wanted), "{wanted}: {texts}");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_work_has_a_line_for_each_contender_and_a_column_for_each_width() {
        let row = |name: &str, ours: f64, with_loop: bool| {
            let mut figures = vec![
                ("trefoil", Kind::Ours, vec![ours]),
                ("slow", Kind::Peer, vec![80.0]),
                ("rayon, scope", Kind::Peer, vec![50.0]),
                ("chili", Kind::Peer, vec![25.0]),
            ];
            figures.extend(with_loop.then(|| ("loop", Kind::Sequential, vec![100.0])));
            judge(&Row::new(name, Unit::Ns, &[]), &Measured::new(figures))
        };
        let rows = [
            row("a, b, workers: 1", 100.0, true),
            row("a, b, workers: 16", 10.0, true),
            row("c, workers: 2", 10.0, false),
            row("without a number", 10.0, false),
        ];
        let wanted = "| work | by | 1 | 2 | 16 |\n|---|---|---|---|---|\n\
                      | a, b | trefoil | 1.00 |  | 10.0 |\n\
                      |  | rayon, scope | 2.00 |  | 2.00 |\n\
                      |  | chili | 4.00 |  | 4.00 |\n\
                      | c | trefoil |  | 10.0 ns |  |\n\
                      |  | rayon, scope |  | 50.0 ns |  |\n\
                      |  | chili |  | 25.0 ns |  |\n\n\
                      At 16 workers, of 1 works that rayon does, too: ahead of it in 1, level in 0, \
                      behind in 0, by up to ×0.20.\n";
        assert_eq!(table(&rows), wanted);
    }
}
