//! The headline of the page: a few rows of the tables, and how many rows are ahead or level.
//!
//! The rows are copied from the document of all tables, so a figure is written once.
//!
//! Checked by the tests below, and by those of `tables`.

use std::fmt::Write as _;

use super::table;

/// The rows, by their names.
const ROWS: [&str; 17] = [
    "`join`, tree of 1,023 in cache, 2 workers, per node",
    "`spawn` + wait one by one, inside",
    "jobs back to back",
    "`map` of 10^5 items of 1 µs",
    "region: `map` of 2 x 200 µs, after 2 ms idle",
    "a task that installs in a pool of one",
    "iter: par_sort of 4·10^6",
    "spawn + run + await of a ready local task, one by one",
    "a timer, begun and cancelled",
    "echo, connections: 64, each",
    "an idle task that waits for nothing: resident bytes",
    "HTTP/1, connections: 64, each request: the server's processor time",
    "`join_all` of 1000, each",
    "a pool of 2, until its first answer",
    "one call after the other, two processors",
    "1 MiB there and back as `Bulk`",
    "a worker is killed, until the next answers",
];

/// What a table says behind its rows.
const AHEAD: &str = "Ahead of the best peer, or level within a tenth: ";

/// In how many rows trefoil is ahead or level, of how many, as a table says.
#[must_use]
pub fn verdict(ahead: usize, all: usize) -> String {
    format!("{AHEAD}{ahead} of {all} rows, those that are not shown here included.")
}

/// The sum of what the tables say.
#[must_use]
pub fn ahead(results: &str) -> (usize, usize) {
    let lines = results.lines().filter_map(|line| line.strip_prefix(AHEAD));
    lines.fold((0, 0), |(ahead, all), line| {
        let mut numbers = line
            .split(' ')
            .filter_map(|word| word.parse::<usize>().ok());
        let mut next = || numbers.next().unwrap_or(0);
        (ahead + next(), all + next())
    })
}

/// The headline, of the document of all tables.
///
/// # Errors
/// If a row is missing, or there twice.
pub fn headline(results: &str) -> Result<String, String> {
    let mut out = table::HEAD.to_owned();
    for name in ROWS {
        let start = format!("| {name} |");
        let mut rows = results.lines().filter(|line| {
            line.starts_with(&start) && line.matches('|').count() == 5 // the columns of a page
        });
        match (rows.next(), rows.next()) {
            (Some(row), None) => out = out + row + "\n",
            (None, _) => return Err(format!("no row is named {name:?}")),
            _ => return Err(format!("several rows are named {name:?}")),
        }
    }
    let (ahead, all) = ahead(results);
    let _ = writeln!(out, "\n{AHEAD}{ahead} of {all} rows of all tables.");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied_and_counts_added() {
        let rows: String = ROWS
            .iter()
            .map(|name| format!("| {name} | 1 | 2 | ×0.50 |\n"))
            .collect();
        let results = format!("{rows}\n{}\n\n{}\n", verdict(3, 4), verdict(5, 5));
        let text = headline(&results).unwrap();
        assert!(text.contains(&rows) && text.ends_with("tenth: 8 of 9 rows of all tables.\n"));
        assert!(headline(&results.replace(ROWS[3], "gone")).is_err());
        assert!(headline(&format!("{results}{rows}")).is_err());
    }
}
