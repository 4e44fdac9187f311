//! The figures in the prose are those of the tables.
//!
//! `docs/BENCHMARKS.md` is measured again and again, and figures in other documents become
//! outdated. So a paragraph or an item of a list that has figures ends with a comment which says
//! where each of them comes from:
//!
//! ```text
//! - A promise takes 1.24 times as long as tokio's, 27 ns, and a yield 0.5 of smol's time.
//!   <!-- figures
//!   1.24 | complete + join of a promise | trefoil / tokio oneshot
//!   27 ns | complete + join of a promise | trefoil
//!   0.5 | a yield, among a hundred tasks | trefoil / smol
//!   -->
//! ```
//!
//! 1. There is a line for each number of the paragraph outside of backquotes, in their order.
//!    `1,023 | -` means that a number is not a figure of a table. `same | ..` compares the figure
//!    before it with one more row.
//! 2. A row is named as in the table; `least: X` and `most: X` are the least and the greatest of
//!    the rows that begin with X, `every: X` is each of them.
//! 3. The last part names the contender, or a ratio `a / b`, or a difference `a - b`. `best` is the
//!    best peer.
//! 4. The number is that of the table, rounded to as many digits as it has. `± 10 % | ..` wants a
//!    ratio between 0.9 and 1.1, `< 200 ns | ..` a value below it.
//!
//! What must have such a comment: each paragraph with a number in the section "Figures" of
//! `docs/COMPARE.md`, and outside of a table each with a ratio (`×0.5`), except in documents about
//! earlier runs.

use crate::source::{File, Finding};

const TABLES: &str = "docs/BENCHMARKS.md";

/// Documents about earlier runs.
const OF_THE_PAST: [&str; 2] = ["docs/internals/DESIGN.md", "CHANGELOG.md"];

/// A number with its unit; times are in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Value(f64, &'static str);

/// The value of one contender of a row, and the ratio that the table prints beside it.
#[derive(Debug)]
struct Entry<'a> {
    name: &'a str,
    value: Value,
    ratio: Option<f64>,
}

/// A row of a table: trefoil first, then the best peer and the others.
struct Row<'a> {
    name: &'a str,
    entries: Vec<Entry<'a>>,
}

/// Each figure in a comment agrees with the tables, and each paragraph that must have a comment has
/// one.
pub(crate) fn claimed(file: &File, tree: &[File]) -> Vec<Finding> {
    if !file.path.ends_with(".md") || OF_THE_PAST.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let Some(tables) = tree.iter().find(|file| file.path == TABLES) else {
        return Vec::new();
    };
    let rows: Vec<Row<'_>> = tables.lines.iter().filter_map(|l| row(&l.raw)).collect();
    let mut findings = Vec::new();
    let mut report =
        |at: usize, what: String| findings.push(Finding::new(file, at, "figure", what));
    let (mut section, mut fenced, mut comment) = ("", false, None);
    let mut numbers: Vec<String> = Vec::new();
    let mut begun = 0;
    // A last, empty line ends the last paragraph.
    for (at, line) in file
        .lines
        .iter()
        .map(|line| line.raw.as_str())
        .chain([""])
        .enumerate()
    {
        let text = line.trim();
        fenced ^= text.starts_with("```");
        if let Some(claims) = &mut comment {
            if text != "-->" {
                Vec::push(claims, (at, text));
                continue;
            }
            judge(&numbers, claims, &rows, begun, &mut report);
            (numbers, comment) = (Vec::new(), None);
        } else if text == "<!-- figures" {
            comment = Some(Vec::new());
        } else if fenced
            || text.is_empty()
            || text.starts_with(['|', '#', '<'])
            || text.starts_with("- ")
        {
            let all = file.path == "docs/COMPARE.md" && section == "## Figures";
            if let Some(number) = numbers.iter().find(|number| all || number.starts_with('×')) {
                report(
                    begun,
                    format!("which row does {number} stand in? (`<!-- figures`)"),
                );
            }
            numbers.clear();
            begun = at;
            section = if text.starts_with('#') { text } else { section };
        }
        if !fenced && comment.is_none() && !text.starts_with(['|', '#', '<', '[']) {
            numbers.extend(numbers_of(text).map(str::to_owned));
        }
    }
    findings
}

/// Compares the numbers of one paragraph with its comment.
fn judge(
    numbers: &[String],
    claims: &[(usize, &str)],
    rows: &[Row<'_>],
    begun: usize,
    report: &mut impl FnMut(usize, String),
) {
    let mut said = numbers.iter();
    let mut figure = "";
    for &(at, claim) in claims {
        let mut parts = claim.split(" | ");
        let first = parts.next().unwrap_or_default();
        if first != "same" {
            figure = first;
            let number = figure
                .split_whitespace()
                .find(|word| word.contains(|c: char| c.is_ascii_digit()));
            let next = said.next().map(String::as_str);
            if next != number {
                report(
                    at,
                    format!("this line is about {number:?}, the text's next number is {next:?}"),
                );
                return;
            }
        }
        let what = match (parts.next(), parts.next()) {
            (Some("-"), None) => continue,
            (Some(name), Some(whose)) => holds(figure, name, whose, rows),
            _ => Err("write `figure | row | whose`, or `number | -`".to_owned()),
        };
        if let Err(what) = what {
            report(at, what);
        }
    }
    if let Some(next) = said.next() {
        report(begun, format!("the comment has no line for {next}"));
    }
}

/// Whether the figure is that of the row.
fn holds(figure: &str, name: &str, whose: &str, rows: &[Row<'_>]) -> Result<(), String> {
    let (pick, name) = name
        .split_once(": ")
        .filter(|(pick, _)| ["least", "most", "every"].contains(pick))
        .unwrap_or(("", name));
    let mut values = Vec::new();
    for row in rows.iter().filter(|row| {
        if pick.is_empty() {
            row.name == name
        } else {
            row.name.starts_with(name)
        }
    }) {
        values.push(value(row, whose).ok_or_else(|| format!("`{}` has no `{whose}`", row.name))?);
    }
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = match (pick, &values[..]) {
        (_, []) => return Err(format!("{TABLES} has no row `{name}`")),
        ("", [one]) => vec![*one],
        ("", _) => return Err(format!("{TABLES} has two rows `{name}`")),
        ("least", all) => vec![all[0]],
        ("most", all) => vec![all[all.len() - 1]],
        (_, all) => all.to_vec(),
    };
    for Value(value, unit) in wanted {
        let fits = fits(figure, value, unit).ok_or_else(|| format!("`{figure}` is no figure"))?;
        if !fits {
            let shown = if unit == "ns" {
                format!("{value} ns")
            } else {
                format!("{value:.3}")
            };
            return Err(format!(
                "{figure} in the text, {shown} in the table: `{name}`, {whose}"
            ));
        }
    }
    Ok(())
}

/// Whether the figure is that value, rounded to as many digits as it has; or above it, or around
/// it.
fn fits(figure: &str, value: f64, unit: &str) -> Option<bool> {
    let mut words = figure.split_whitespace().peekable();
    let relation = words.next_if(|word| ["<", "±"].contains(word));
    let digits = words.next()?.trim_start_matches('×').replace(',', "");
    let number: f64 = digits.parse().ok()?;
    let factor = match words.next() {
        Some("%") if relation == Some("±") => {
            return Some((value - 1.0).abs() <= number / 100.0 + 1e-9);
        }
        Some("KiB") if unit != "ns" => 1024.0,
        Some(word) => scale(word).filter(|_| unit == "ns")?,
        None if unit == "ns" => return None,
        None => 1.0,
    };
    let value = value / factor;
    if relation == Some("<") {
        return Some(value < number);
    }
    let decimals = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let mut step = if digits.contains('.') {
        10_f64.powi(-i32::try_from(decimals).ok()?)
    } else {
        10_f64.powi(i32::try_from(zeros).ok()?)
    };
    while step > 1.0 && step > number / 10.0 {
        step /= 10.0;
    }
    Some((value - number).abs() <= step / 2.0 + 1e-6 * value.abs() + 1e-9)
}

/// Nanoseconds in a unit of time.
fn scale(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        _ => return None,
    })
}

/// The value of a row for a contender, or for two.
fn value(row: &Row<'_>, whose: &str) -> Option<Value> {
    let find = |name: &str| {
        let at = usize::from(name == "best");
        row.entries
            .iter()
            .find(|entry| entry.name == name)
            .or(row.entries.get(at).filter(|_| at == 1))
    };
    if let Some((a, b)) = whose.split_once(" / ") {
        let (a, b) = (find(a)?, find(b)?);
        let exact = b.ratio.filter(|_| a.name == "trefoil");
        return Some(Value(exact.unwrap_or(a.value.0 / b.value.0), ""));
    }
    if let Some((a, b)) = whose.split_once(" - ") {
        let (a, b) = (find(a)?.value, find(b)?.value);
        return Some(Value(a.0 - b.0, a.1));
    }
    Some(find(whose)?.value)
}

/// A line of a table of contenders.
fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line
        .strip_prefix("| ")?
        .split(" | ")
        .map(str::trim)
        .collect();
    let [name, ours, best, ratio, others, floor, ..] = cells[..] else {
        return None;
    };
    let (_, value) = number(ours)?;
    let mut entries = vec![Entry {
        name: "trefoil",
        value,
        ratio: None,
    }];
    entries.extend(entry(best).map(|best| Entry {
        ratio: times(ratio),
        ..best
    }));
    entries.extend(
        others
            .split("; ")
            .chain(floor.split(" ("))
            .filter_map(entry),
    );
    Some(Row { name, entries })
}

/// `rayon, install 21.0 µs ×0.01`.
fn entry(text: &str) -> Option<Entry<'_>> {
    let (text, ratio) = text
        .split_once(" ×")
        .map_or((text, None), |(text, ratio)| (text, Some(ratio)));
    let ratio = ratio.and_then(|ratio| ratio.split([',', ')']).next()?.parse().ok());
    let (name, value) = number(text)?;
    Some(Entry { name, value, ratio })
}

/// The number at the end of a text, and the text before it.
fn number(text: &str) -> Option<(&str, Value)> {
    let (before, last) = text.rsplit_once(' ').unwrap_or(("", text));
    if let Some(scale) = scale(last) {
        let (name, number) = before.rsplit_once(' ').unwrap_or(("", before));
        return Some((name, Value(number.parse::<f64>().ok()? * scale, "ns")));
    }
    Some((before, Value(last.parse().ok()?, "")))
}

fn times(text: &str) -> Option<f64> {
    text.strip_prefix('×')?.parse().ok()
}

/// The numbers of a line, outside of backquotes: `×0.44`, `1,023`, `16`; not those in a name
/// (`HTTP/1`).
fn numbers_of(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').step_by(2).flat_map(|text| {
        let part = |c: char| c.is_alphanumeric() || "×.,/_".contains(c);
        text.split(move |c| !part(c))
            .map(|word| word.trim_end_matches(['.', ',']))
            .filter(|word| {
                word.trim_start_matches('×')
                    .starts_with(|c: char| c.is_ascii_digit())
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "| work | trefoil | best peer | × | others | floor | goal | met |\n\
        |---|---|---|---|---|---|---|---|\n\
        | a job: p99 | 1.69 ns | chili 3.83 ns | ×0.44 | rayon, install 1.10 µs ×0.15; trefoil, hot 2.15 ns | bare 1.43 ns ×1.18, 0.258 ns more (other 2 ns ×0.8) | | |\n\
        | idle: 1 | 278528 | procspawn 180224 | ×1.55 |  |  | | |\n\
        | idle: 2 | 136 | smol 113 | ×1.20 |  |  | | |";

    fn heard(text: &str, claims: &str) -> usize {
        let page = File::new(
            "docs/COMPARE.md",
            &format!("## Figures\n\n- {text}\n  <!-- figures\n{claims}\n  -->\n"),
        );
        let tables = File::new(TABLES, TABLE);
        claimed(&page, &[tables]).len()
    }

    #[test]
    fn a_wrong_figure_is_reported() {
        let ours = "a job: p99 | trefoil";
        assert_eq!(heard("×0.44", &format!("×0.44 | {ours} / chili")), 0);
        assert_eq!(heard("×0.45", &format!("×0.45 | {ours} / chili")), 1);
        assert_eq!(heard("1.7", &format!("1.7 ns | {ours}")), 0);
        assert_eq!(heard("1.6", &format!("1.6 ns | {ours}")), 1);
        assert_eq!(heard("1.7", &format!("1.7 | {ours}")), 1); // of what?
        assert_eq!(heard("2.3", "2.3 | a job: p99 | chili / trefoil"), 0);
        assert_eq!(
            heard("1,100 ns", "1,100 ns | a job: p99 | rayon, install"),
            0
        );
        assert_eq!(heard("1.1 µs", "1.1 µs | a job: p99 | rayon, install"), 0);
        assert_eq!(heard("1.4", "1.4 ns | a job: p99 | bare"), 0);
        assert_eq!(heard("×0.8", "×0.8 | a job: p99 | trefoil / other"), 0);
        assert_eq!(heard("96", "96 KiB | idle: 1 | trefoil - best"), 0);
        assert_eq!(heard("90", "90 KiB | idle: 1 | trefoil - best"), 1);
        assert_eq!(heard("280,000", "280,000 | idle: 1 | trefoil"), 0);
        assert_eq!(heard("290,000", "290,000 | idle: 1 | trefoil"), 1);
    }

    #[test]
    fn a_figure_may_be_of_many_rows() {
        let ratio = "trefoil / best";
        assert_eq!(
            heard(
                "×1.20 to ×1.55",
                &format!("×1.20 | least: idle | {ratio}\n×1.55 | most: idle | {ratio}")
            ),
            0
        );
        assert_eq!(heard("×1.55", &format!("×1.55 | least: idle | {ratio}")), 1);
        assert_eq!(heard("60 %", &format!("± 60 % | every: idle | {ratio}")), 0);
        assert_eq!(heard("20 %", &format!("± 20 % | every: idle | {ratio}")), 1);
        assert_eq!(heard("2", "< 2 ns | a job: p99 | trefoil"), 0);
        assert_eq!(heard("1", "< 1 ns | a job: p99 | trefoil"), 1);
        assert_eq!(
            heard("136", "136 | idle: 2 | trefoil\nsame | idle: 1 | trefoil"),
            1
        );
    }

    #[test]
    fn a_figure_without_its_row_is_reported() {
        assert_eq!(heard("HTTP/1, `2`, of 3 and 4", "3 | -\n4 | -"), 0);
        assert_eq!(heard("of 3 and 4", "3 | -"), 1);
        assert_eq!(heard("of 3 and 4", "4 | -\n3 | -"), 1);
        assert_eq!(heard("of 3", "3 | gone | trefoil"), 1);
        assert_eq!(heard("of 3", "3 ns | a job: p99 | tokio"), 1);
        assert_eq!(heard("of 3", "3 | idle: 1"), 1);
        let bare = |path: &str, text: &str| {
            claimed(&File::new(path, text), &[File::new(TABLES, TABLE)]).len()
        };
        assert_eq!(
            bare("docs/COMPARE.md", "## Figures\n\n- half\n- takes 3 ns"),
            1
        );
        assert_eq!(bare("docs/COMPARE.md", "## Threads\n\n- takes 3 ns"), 0);
        assert_eq!(bare("README.md", "takes ×0.5"), 1);
        assert_eq!(bare("README.md", "```text\n×0.5\n```\n| ×0.5 |"), 0);
    }
}
