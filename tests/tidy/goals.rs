//! What `docs/BENCHMARKS.md` says of goals that were missed is what its tables say.
//!
//! A table has a row for each measurement, and its last column says whether the row met its goal:
//! `yes`, `here`, `no`, or nothing if there is none. Below the table its program lists the rows
//! that did not. Below that is prose, written by hand, which says what holds such rows back; each
//! reason ends with comments that name its rows, by how they begin:
//!
//! ```text
//! - A yield: some 220 instructions, for the poll itself and the queue.
//!   <!-- row: a yield, among -->
//! ```
//!
//! 1. The list below a table has its rows that end in `no`, in their order.
//! 2. Each of these has a reason, unless its only goal is to be ahead and it is alike: which of two
//!    such is ahead changes from run to run. (Rows that met their goal may have a reason, too: in
//!    the next run they may miss it. So no reason says of a row that it is behind.)
//! 3. Each comment names a row that has a goal.
//! 4. In `docs/COMPARE.md`, what is listed as ahead is ahead by more than its head calls alike.

use crate::source::{File, Finding};

const TABLES: &str = "docs/BENCHMARKS.md";
const COMPARED: &str = "docs/COMPARE.md";

/// Ratios between this and its inverse are alike, as both pages say.
const ALIKE: f64 = 1.3;

/// A row of a table that has a goal.
struct Row<'a> {
    name: &'a str,
    /// It met its goal.
    met: bool,
    /// It only had to be ahead, and is alike.
    alike: bool,
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<&str> = cells.split(" | ").map(str::trim).collect();
    let [name, _, _, ratio, .., goal, verdict] = cells[..] else {
        return None;
    };
    let ratio = ratio.strip_prefix('×').and_then(|ratio| ratio.parse().ok());
    ["yes", "here", "no"].contains(&verdict).then_some(Row {
        name,
        met: verdict != "no",
        alike: goal == "ahead" && ratio.is_some_and(|ratio: f64| ratio < ALIKE),
    })
}

/// Rules 1 to 3.
pub(crate) fn kept(file: &File) -> Vec<Finding> {
    if file.path != TABLES {
        return Vec::new();
    }
    let lines = || file.lines.iter().map(|line| line.raw.as_str()).enumerate();
    let rows: Vec<_> = lines().filter_map(|(_, line)| row(line)).collect();
    let reasons: Vec<(usize, &str)> = lines()
        .filter_map(|(at, line)| {
            let name = line.trim().strip_prefix("<!-- row: ")?;
            Some((at, name.strip_suffix(" -->")?))
        })
        .collect();
    let mut findings = Vec::new();
    let mut report = |at, what: String| findings.push(Finding::new(file, at, "goal", what));
    for &(at, name) in &reasons {
        if !rows.iter().any(|row| row.name.starts_with(name)) {
            report(at, format!("no row with a goal begins with `{name}`"));
        }
    }
    let mut behind: Vec<&str> = Vec::new();
    let mut listed = None;
    for (at, line) in lines() {
        if line.starts_with("<!-- begin ") {
            behind.clear();
            listed = None;
        } else if let Some(row) = row(line).filter(|row| !row.met) {
            let name = row.name;
            behind.push(name);
            if !row.alike && !reasons.iter().any(|(_, reason)| name.starts_with(reason)) {
                let what = format!(
                    "`{name}` is behind its goal: say why, and end the item with `<!-- row: {name} -->`"
                );
                report(at, what);
            }
        } else if line == "Behind their goal:" {
            listed = Some(Vec::new());
        } else if let Some(listed) = &mut listed
            && let Some(name) = line.strip_prefix("- ")
        {
            Vec::push(listed, name);
        } else if line.starts_with("<!-- end ") && listed.take().unwrap_or_default() != behind {
            let what = format!("the list of rows behind their goal is not the table's: {behind:?}");
            report(at, what);
        }
    }
    findings
}

/// Rule 4.
pub(crate) fn ahead(file: &File) -> Vec<Finding> {
    if file.path != COMPARED {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut inside = false;
    for (at, line) in file.lines.iter().enumerate() {
        let text = line.raw.as_str();
        if text.starts_with("Where ") {
            inside = text.contains(" is ahead");
        }
        let mut parts = text.trim().splitn(2, " | ");
        let ratio = parts.next().and_then(|first| first.strip_prefix('×'));
        let ratio = ratio.and_then(|ratio| ratio.parse::<f64>().ok());
        if inside && parts.next().is_some() && ratio.is_some_and(|ratio| ratio > 1.0 / ALIKE) {
            let what = format!("{text}: that is alike, by the head of the page, and not ahead");
            findings.push(Finding::new(file, at, "goal", what));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!-- begin a -->\n| work | us | best | × | more | floor | goal | met |\n\
        | a task | 1 ns | b 1 ns | ×1.00 |  |  | ≤ 0 ns | no |\n\
        | a yield | 1 ns | b 1 ns | ×1.00 |  |  | ≤ 0 ns, ahead | no |\n\
        | a timer | 1 ns | b 2 ns | ×0.50 |  |  | ahead | yes |\n\
        | echo | 1 ns | b 1 ns | ×1.10 |  |  | ahead | no |\n| idle | 1 ns |  |  |  |  |  |  |\n\n\
        Behind their goal:\n\n- a task\n- a yield\n- echo\n\n<!-- end a -->\n- Why\n  <!-- row: a -->\n";

    fn heard(from: &str, to: &str) -> Vec<String> {
        assert!(PAGE.contains(from));
        let page = File::new(TABLES, &PAGE.replacen(from, to, 1));
        kept(&page).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_table_does_not_say_is_reported() {
        assert_eq!(heard("", "").len(), 0);
        assert_eq!(heard("| ahead | yes |", "| ahead | here |").len(), 0);
        assert_eq!(heard("row: a -->", "row: a -->\n<!-- row: e -->").len(), 0);
        for (from, to) in [
            ("| ahead | yes |", "| ahead | no |"), // not in the list
            ("ahead | no |", "ahead | yes |"),     // still there
            ("- a task\n", ""),
            ("Behind their goal:", "Behind:"),
            ("- a task\n- a yield\n", "- a yield\n- a task\n"),
            ("×1.10", "×1.50"),             // no reason for the echo
            ("row: a -->", "row: a y -->"), // no reason for the task
            ("row: a -->", "row: a -->\n  <!-- row: b -->"),
            ("row: a -->", "row: a -->\n  <!-- row: idle -->"), // it has no goal
        ] {
            assert_eq!(heard(from, to).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn what_is_alike_is_not_ahead() {
        let heard = |text: &str| ahead(&File::new(COMPARED, text)).len();
        assert_eq!(heard("Where trefoil is ahead:\n  ×0.76 | a | b"), 0);
        assert_eq!(heard("Where trefoil is ahead:\n  ×0.77 | a | b"), 1);
        assert_eq!(heard("Where trefoil is ahead:\n- ×0.9\n"), 0);
        let alike = "Where trefoil is ahead:\nWhere it is alike:\n  ×0.9 | a | b";
        assert_eq!(heard(alike), 0);
    }
}
