//! A row for the terminal, a table for the page, and one with all details.
//!
//! The page has four columns: the work, trefoil, the best peer, and the ratio, which is trefoil's
//! figure divided by the peer's, so that below 1 trefoil is ahead. The table of details adds the
//! other peers, the floors and the goals, and the rows that the page leaves out.
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

fn cells(row: &Judged) -> [String; 8] {
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
    [
        row.name.clone(),
        ours.map_or(String::new(), |ours| row.unit.show(ours.value)),
        peer.map_or(String::new(), named),
        peer.map_or(String::new(), against),
        others.join("; "),
        below,
        row.goals.clone(),
        row.verdict.clone(),
    ]
}

/// The first lines of a table of the page.
pub const HEAD: &str = "| work | trefoil | best peer | × |\n|---|---|---|---|\n";

fn columns(row: &Judged, count: usize) -> String {
    let cells = cells(row);
    let cells: Vec<String> = cells.iter().map(|text| cell(text.trim())).collect();
    format!("| {} |\n", cells[..count].join(" | "))
}

/// The table of the page.
#[must_use]
pub fn page(rows: &[Judged]) -> String {
    let rows = rows.iter().filter(|row| !row.detail);
    rows.fold(HEAD.to_owned(), |out, row| out + &columns(row, 4))
}

/// In how many rows trefoil is ahead of the best peer, or level within a tenth; of how many.
#[must_use]
pub fn ahead(rows: &[Judged]) -> (usize, usize) {
    let pair = |row: &Judged| Some((row.best(Kind::Ours)?.value, row.best(Kind::Peer)?.value));
    let pairs: Vec<(f64, f64)> = rows.iter().filter_map(pair).collect();
    let ahead = pairs.iter().filter(|(ours, peer)| *ours <= peer * 1.1);
    (ahead.count(), pairs.len())
}

/// The table of all rows, with all columns.
#[must_use]
pub fn details(rows: &[Judged]) -> String {
    let head = "| work | trefoil | best peer | × | other peers, and trefoil in other manners | sequential or floor | goal | met |\n|---|---|---|---|---|---|---|---|\n";
    rows.iter()
        .fold(head.to_owned(), |out, row| out + &columns(row, 8))
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
        let text = details(&[sample()]);
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
            columns(&row, 8),
            "| idle | 0 ms | rayon 0 ms |  |  |  | 0 | yes |\n"
        );
    }

    #[test]
    fn the_page_leaves_out_details() {
        let detail = Judged {
            detail: true,
            ..sample()
        };
        let text = page(&[sample(), detail.clone()]);
        let row = "| work | 1.00 µs | rayon 2.00 µs | ×0.50 |\n";
        assert_eq!(text, format!("{HEAD}{row}"));
        assert_eq!(ahead(&[sample(), detail]), (2, 2));
    }

    #[test]
    fn a_row_that_is_behind_is_counted() {
        let row = |ours: f64, peers: &[f64]| {
            let ours = ("trefoil", Kind::Ours, vec![ours]);
            let peers = peers.iter().map(|peer| ("rayon", Kind::Peer, vec![*peer]));
            let measured = Measured::new([ours].into_iter().chain(peers).collect());
            judge(&Row::new("work", Unit::Ns, &[]), &measured)
        };
        let rows = [row(1.0, &[2.0]), row(1.2, &[2.0, 1.0]), row(1.0, &[])];
        assert_eq!(ahead(&rows), (1, 2));
    }

    #[test]
    fn the_terminal_shows_everybody() {
        let text = plain(&sample());
        for name in ["trefoil", "smol", "rayon", "one thread", "met"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
