//! The headline of the page: a few rows of the tables.
//!
//! The rows are copied from the document of all tables, and their last column from that of the rows
//! under loads, so a figure is written once.
//!
//! Checked by the tests below, and by those of `tables`.

use std::fmt::Write as _;

use super::loads;

/// The rows, by their names.
const ROWS: [&str; 17] = [
    "`join`, tree of 1,023 in cache, 2 workers, per node",
    "jobs back to back",
    "`map` of 10^5 items of 1 µs",
    "region: `map` of 2 x 200 µs, after 2 ms idle",
    "a task that installs in a pool of one",
    "spawn + run + await of a ready local task, one by one",
    "a timer, begun and cancelled",
    "HTTP/1, connections: 64, each request: the server's processor time",
    "`join_all` of 1000, each",
    "a pool of 2, until its first answer",
    "one call after the other, two processors",
    "1 MiB there and back as `Bulk`",
    "a worker is killed, until the next answers",
    "killed, with a fork server",
    "killed, with a fork server; 1 GiB",
    "killed, with a fork server; 4 GiB",
    "killed, with a fork server; 4 GiB, large pages",
];

/// The first lines of the headline.
const HEAD: &str = "| work | trefoil | best peer | × | × busy |\n|---|---|---|---|---|\n";

/// What a table says behind its rows.
const AHEAD: &str = "Ahead of the best peer, or level within a tenth: ";

/// In how many rows trefoil is ahead or level, of how many, as a table says.
#[must_use]
pub fn verdict(ahead: usize, all: usize) -> String {
    format!("{AHEAD}{ahead} of {all} rows, those that are not shown here included.")
}

/// The headline, of the document of all tables and of that of the rows under loads.
///
/// # Errors
/// If a row is missing, or there twice.
pub fn headline(results: &str, under_loads: &str) -> Result<String, String> {
    let mut out = HEAD.to_owned();
    for name in ROWS {
        let start = format!("| {name} |");
        let mut rows = results.lines().filter(|line| {
            line.starts_with(&start) && line.matches('|').count() == 5 // the columns of a page
        });
        match (rows.next(), rows.next()) {
            (Some(row), None) => {
                let busy = loads::busy(under_loads, name);
                let _ = writeln!(out, "{row} {busy} |");
            }
            (None, _) => return Err(format!("no row is named {name:?}")),
            _ => return Err(format!("several rows are named {name:?}")),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied() {
        let rows: String = ROWS
            .iter()
            .map(|name| format!("| {name} | 1 | 2 | ×0.50 |\n"))
            .collect();
        let results = format!("{rows}\n{}\n", verdict(3, 4));
        let busy = format!("| {} | 1 ×0.50 a | 2 ×0.75 b |  |\n", ROWS[3]);
        let text = headline(&results, &busy).unwrap();
        for name in ROWS {
            let busy = if name == ROWS[3] { "×0.75" } else { "" };
            let row = format!("| {name} | 1 | 2 | ×0.50 | {busy} |\n");
            assert!(text.contains(&row), "{row}: {text}");
        }
        assert!(headline(&results.replace(ROWS[3], "gone"), &busy).is_err());
        assert!(headline(&format!("{results}{rows}"), &busy).is_err());
    }
}
