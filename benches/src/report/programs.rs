//! Programs that use rayon, with it and with trefoil in its place (`benches/programs.sh`).
//!
//! The script leaves a line for each run: the program, how many processors it had, `rayon` or
//! `trefoil`, and the seconds. Here those become a table, and the plot is drawn of the table as it
//! is in the document, so that both say the same.
//!
//! Checked by the tests below, and by those of `tables`.

use std::fmt::Write as _;

use crate::median;
use crate::report::draw::{self, Axis, Bar, Part};

/// The plot's file is `docs/plots/<ID>.svg`; the places in the documents have this name, too.
pub const ID: &str = "programs";

/// What the plot shows.
pub const TITLE: &str = "Programs that use rayon: times as fast as with rayon on one processor";

const HEAD: &str = "| program | processors | rayon | trefoil | × |";

/// Times within this factor are level.
const LEVEL: f64 = 1.1;

/// A program with so many processors: the seconds of its rounds.
struct Row<'a> {
    program: &'a str,
    processors: usize,
    rayon: Vec<f64>,
    trefoil: Vec<f64>,
}

impl Row<'_> {
    /// Of the two figures of one round, whatever the machine did then.
    fn ratio(&self) -> f64 {
        let rounds = self.trefoil.iter().zip(&self.rayon);
        median(rounds.map(|(ours, theirs)| ours / theirs).collect())
    }
}

fn rows(figures: &str) -> Result<Vec<Row<'_>>, String> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for line in figures.lines() {
        let broken = || format!("no figure of a program: {line:?}");
        let cells: Vec<&str> = line.split('\t').collect();
        let [program, processors, library, seconds] = cells[..] else {
            return Err(broken());
        };
        let processors = processors.parse().map_err(|_| broken())?;
        let seconds: f64 = seconds.parse().map_err(|_| broken())?;
        let is = |row: &Row<'_>| row.program == program && row.processors == processors;
        let at = rows.iter().position(is).unwrap_or_else(|| {
            rows.push(Row {
                program,
                processors,
                rayon: Vec::new(),
                trefoil: Vec::new(),
            });
            rows.len() - 1
        });
        match library {
            "rayon" => rows[at].rayon.push(seconds),
            "trefoil" => rows[at].trefoil.push(seconds),
            _ => return Err(broken()),
        }
    }
    let is_whole = |row: &Row<'_>| !row.rayon.is_empty() && row.rayon.len() == row.trefoil.len();
    if rows.is_empty() || !rows.iter().all(is_whole) {
        return Err("a program was not run as often with one as with the other".to_owned());
    }
    Ok(rows)
}

/// The table of what the script has measured, and a verdict, which says so if other programs ran
/// meanwhile.
///
/// # Errors
/// If a line is none of the script's, or a run is missing.
pub fn table(figures: &str, is_busy: bool) -> Result<String, String> {
    let rows = rows(figures)?;
    let mut out = format!("{HEAD}\n|---|---|---|---|---|\n");
    for row in &rows {
        let _ = writeln!(
            out,
            "| {} | {} | {:.3} s | {:.3} s | ×{:.2} |",
            row.program,
            row.processors,
            median(row.rayon.clone()),
            median(row.trefoil.clone()),
            row.ratio()
        );
    }
    let most = rows.iter().map(|row| row.processors).max().unwrap_or(1);
    let widest = rows.iter().filter(|row| row.processors == most);
    let ratios: Vec<f64> = widest.map(Row::ratio).collect();
    let count = |is: &dyn Fn(f64) -> bool| ratios.iter().filter(|ratio| is(**ratio)).count();
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let by = if worst > LEVEL {
        format!(", by up to ×{worst:.2}")
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "\nOn {most} processors, of {} programs that use rayon: faster with trefoil {}, level {}, slower {}{by}{}.",
        ratios.len(),
        count(&|ratio| ratio < 1.0 / LEVEL),
        count(&|ratio| (1.0 / LEVEL..=LEVEL).contains(&ratio)),
        count(&|ratio| ratio > LEVEL),
        if is_busy { " (on a busy machine)" } else { "" },
    );
    Ok(out)
}

/// What the document says below the table.
///
/// # Errors
/// If it says nothing.
pub fn verdict_of(results: &str) -> Result<&str, String> {
    let mut lines = results.lines();
    let verdict = lines.find(|line| line.contains(" programs that use rayon: "));
    verdict.ok_or_else(|| "the table of programs has no verdict".to_owned())
}

/// As SVG, of the document with the table.
///
/// # Errors
/// If a row has no number, or a program was not run on one processor, or it cannot be drawn.
pub fn svg(results: &str) -> Result<String, String> {
    let mut lines = results.lines().skip_while(|line| *line != HEAD).skip(2);
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    let mut base = f64::NAN;
    for line in lines.by_ref().take_while(|line| line.starts_with('|')) {
        let broken = || format!("no row of a program: {line}");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let seconds = |cell: &str| cell.trim_end_matches(" s").parse().map_err(|_| broken());
        let (rayon, trefoil): (f64, f64) = (
            seconds(cells.get(2).ok_or_else(broken)?)?,
            seconds(cells.get(3).ok_or_else(broken)?)?,
        );
        let (program, is_one) = (cells[0], cells[1] == "1");
        if is_one {
            base = rayon;
            groups.push((program.to_owned(), Vec::new()));
        }
        let group = groups.last_mut().filter(|group| group.0 == program);
        let (_, bars) = group.ok_or_else(|| format!("{program} did not run on one processor"))?;
        let plural = if is_one { "" } else { "s" };
        let mut push = |library, seconds: f64, part| {
            bars.push(Bar {
                name: format!("{library}, {} processor{plural}", cells[1]),
                value: base / seconds,
                text: format!("×{:.2}", base / seconds),
                part,
            });
        };
        push("rayon", rayon, Part::Base);
        push("trefoil", trefoil, Part::Ours);
    }
    if groups.is_empty() {
        return Err("there is no table of programs".to_owned());
    }
    let run = results.lines().find(|line| line.starts_with("Run "));
    let run = run.and_then(|line| line.split(". ").next());
    let page = draw::Page {
        title: TITLE,
        below: run.ok_or("the table of programs does not say where it was measured")?,
    };
    page.points(&groups, Axis::Even)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIGURES: &str = "a 1.0\t1\trayon\t2.0\na 1.0\t1\ttrefoil\t2.2\na 1.0\t1\trayon\t4.0\na 1.0\t1\ttrefoil\t4.0\n\
                           a 1.0\t1\trayon\t4.0\na 1.0\t1\ttrefoil\t4.0\n\
                           a 1.0\t2\trayon\t2.0\na 1.0\t2\ttrefoil\t1.0\nb\t1\trayon\t1\nb\t1\ttrefoil\t1\nb\t2\trayon\t1\nb\t2\ttrefoil\t1.2\n";

    #[test]
    fn a_ratio_is_of_one_round() {
        let wanted = "| program | processors | rayon | trefoil | × |\n|---|---|---|---|---|\n\
                      | a 1.0 | 1 | 4.000 s | 4.000 s | ×1.00 |\n\
                      | a 1.0 | 2 | 2.000 s | 1.000 s | ×0.50 |\n\
                      | b | 1 | 1.000 s | 1.000 s | ×1.00 |\n\
                      | b | 2 | 1.000 s | 1.200 s | ×1.20 |\n\n\
                      On 2 processors, of 2 programs that use rayon: faster with trefoil 1, level 0, slower 1, by up to ×1.20.\n";
        let busy = table(FIGURES, true).unwrap();
        let table = table(FIGURES, false).unwrap();
        assert_eq!(table, wanted);
        assert!(
            busy.contains("by up to ×1.20 (on a busy machine)."),
            "{busy}"
        );
        assert_eq!(verdict_of(&table), Ok(wanted.lines().last().unwrap()));
    }

    #[test]
    fn a_run_that_is_missing_is_an_error() {
        let broken = [
            "",
            "a\t1\trayon\t2.0\n",
            "a\t1\trayon\n",
            "a\t1\tsmol\t1\n",
            "a\tx\trayon\t1\n",
        ];
        for figures in broken {
            assert!(table(figures, false).is_err(), "{figures:?}");
        }
    }

    #[test]
    fn the_plot_shows_what_the_table_says() {
        let document = format!(
            "Run r1: 2 processors. 7 rounds.\n\n{}",
            table(FIGURES, false).unwrap()
        );
        let svg = svg(&document).unwrap();
        let xml = roxmltree::Document::parse(&svg).unwrap();
        let texts = xml.descendants().filter(|node| node.has_tag_name("text"));
        let texts: Vec<&str> = texts
            .filter_map(|text| text.text())
            .map(str::trim)
            .collect();
        let at = |wanted: &str| texts.iter().position(|text| *text == wanted);
        let two = at("trefoil, 2 processors").unwrap();
        assert_eq!(texts[two + 1], "×4.00", "{texts:?}");
        assert!(at("Run r1: 2 processors").is_some(), "{texts:?}");
        assert!(at("rayon, 1 processor").is_some(), "{texts:?}");
        assert!(super::svg("nothing").is_err());
        assert!(super::svg(&document.replace("| 1 |", "| 3 |")).is_err());
    }
}
