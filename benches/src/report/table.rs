//! A row for the terminal, and a table for the document.
//!
//! In the document each peer has its figure and the ratio beside it: trefoil's divided by the
//! peer's, so that below 1 trefoil is ahead.
//!
//! Checked by the tests below.

use std::fmt::Write as _;

use crate::record::{Figure, Judged};
use crate::rows::Kind;

/// `×0.52`: the figure by the other one, where that is possible.
fn times(value: f64, of: &Figure) -> String {
    if of.value > 0.0 && value.is_finite() {
        format!("×{:.2}", value / of.value)
    } else {
        String::new()
    }
}

/// As it is printed while the benchmark runs.
#[must_use]
pub fn plain(row: &Judged) -> String {
    let mut out = format!("\n{}\n", row.name);
    let (peer, base) = (row.best(Kind::Peer), row.base());
    let other = row.best(Kind::OtherOrder);
    for figure in &row.entries {
        let _ = write!(
            out,
            "  {:<32} {:>11}",
            figure.name,
            row.unit.show(figure.value)
        );
        if matches!(figure.kind, Kind::Ours | Kind::OursToo | Kind::Peer) {
            let compared = [peer, base, other].into_iter().flatten();
            for of in compared.filter(|of| of.value > 0.0) {
                let _ = write!(out, "  {:>6} of {}", times(figure.value, of), of.name);
            }
            if let Some(base) = base.filter(|_| row.over) {
                let _ = write!(out, " ({} more)", row.unit.show(figure.value - base.value));
            }
        }
        out.push('\n');
    }
    if !row.goals.is_empty() {
        let words = match row.verdict.as_str() {
            "yes" => "met",
            "here" => "met, for so slow a machine",
            _ => "MISSED",
        };
        let _ = writeln!(out, "  goal: {}: {words}", row.goals);
    }
    out
}

/// A cell: no vertical bar ends it early.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn line(row: &Judged) -> String {
    let ours = row.best(Kind::Ours);
    let named = |figure: &Figure| format!("{} {}", figure.name, row.unit.show(figure.value));
    let against = |of: &Figure| ours.map_or(String::new(), |ours| times(ours.value, of));
    let with = |figure: &Figure| {
        let both = format!("{} {}", named(figure), against(figure));
        both.trim_end().to_owned()
    };
    let (peer, base) = (row.best(Kind::Peer), row.base());
    let is = |of: Option<&Figure>, figure: &Figure| of.is_some_and(|of| std::ptr::eq(of, figure));

    let mut peers: Vec<&Figure> = row.entries.iter().collect();
    peers.retain(|f| f.kind == Kind::Peer && !is(peer, f));
    peers.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut others: Vec<String> = peers.into_iter().map(with).collect();
    let too = row.entries.iter().filter(|f| f.kind == Kind::OursToo);
    others.extend(too.map(named));

    let mut below = base.map_or(String::new(), with);
    if let (Some(ours), Some(base), true) = (ours, base, row.over) {
        let _ = write!(below, ", {} more", row.unit.show(ours.value - base.value));
    }
    if let Some(other) = row.best(Kind::OtherOrder) {
        let _ = write!(below, " ({})", with(other));
    }
    let cells = [
        row.name.clone(),
        ours.map_or(String::new(), |ours| row.unit.show(ours.value)),
        peer.map_or(String::new(), named),
        peer.map_or(String::new(), against),
        others.join("; "),
        below,
        row.goals.clone(),
        row.verdict.clone(),
    ];
    let cells: Vec<String> = cells.iter().map(|text| cell(text.trim())).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The table of all rows.
#[must_use]
pub fn markdown(rows: &[Judged]) -> String {
    let head = "| work | trefoil | best peer | × | other peers, and trefoil in other manners | sequential or floor | goal | met |\n|---|---|---|---|---|---|---|---|\n";
    rows.iter()
        .fold(head.to_owned(), |out, row| out + &line(row))
}

/// The names of the rows that are behind their goal, as a list; nothing if none is.
#[must_use]
pub fn behind(rows: &[Judged]) -> String {
    let behind = rows.iter().filter(|row| row.verdict == "no");
    let names: Vec<String> = behind
        .map(|row| format!("- {}\n", cell(&row.name)))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!("\nBehind their goal:\n\n{}", names.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::rows::{Goal, Measured, Row, Unit};

    fn sample() -> Judged {
        let measured = Measured::new(vec![
            ("trefoil", Kind::Ours, vec![1e3]),
            ("trefoil, install", Kind::OursToo, vec![5e3]),
            ("smol", Kind::Peer, vec![4e3]),
            ("rayon", Kind::Peer, vec![2e3]),
            ("a | b", Kind::Peer, vec![8e3]),
            ("one thread", Kind::Sequential, vec![4e3]),
            ("the same backwards", Kind::OtherOrder, vec![10e3]),
        ]);
        let row = Row::new("work", Unit::Us, &[Goal::Ahead, Goal::Over(1e3)]);
        judge(&row, &measured)
    }

    #[test]
    fn peers_stand_side_by_side_with_ratios() {
        let text = markdown(&[sample()]);
        let last = text.lines().last().unwrap();
        assert_eq!(
            last,
            "| work | 1.00 µs | rayon 2.00 µs | ×0.50 | smol 4.00 µs ×0.25; a \\| b 8.00 µs ×0.12; trefoil, install 5.00 µs | \
             one thread 4.00 µs ×0.25, -3.00 µs more (the same backwards 10.0 µs ×0.10) | ahead, ≤ sequential + 1.00 µs | yes |"
        );
        let columns = |line: &str| line.replace("\\|", "").matches('|').count();
        assert!(text.lines().all(|line| columns(line) == 9));
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let measured = Measured::new(vec![
            ("trefoil", Kind::Ours, vec![0.0]),
            ("rayon", Kind::Peer, vec![0.0]),
        ]);
        let row = judge(&Row::new("idle", Unit::Ms, &[Goal::Nothing]), &measured);
        assert_eq!(
            line(&row),
            "| idle | 0 ms | rayon 0 ms |  |  |  | 0 | yes |\n"
        );
    }

    #[test]
    fn what_is_behind_its_goal_is_listed() {
        let with = |name: &str, verdict: &str| Judged {
            name: name.to_owned(),
            verdict: verdict.to_owned(),
            ..sample()
        };
        let rows = [
            with("a", "no"),
            with("b", "here"),
            with("c", "no"),
            with("d", ""),
        ];
        assert_eq!(behind(&rows), "\nBehind their goal:\n\n- a\n- c\n");
        assert_eq!(behind(&rows[1..2]), "");
    }

    #[test]
    fn the_terminal_shows_everybody() {
        let text = plain(&sample());
        for name in ["trefoil", "smol", "rayon", "one thread", "met"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
