//! The rows under loads: each beside its peers in the same run, on a quiet machine and on a busy
//! one.
//!
//! [`GROUPS`] says which rows. A run leaves a record for each group and load, and the table is made
//! of the records that are there; a cell without one is empty. The page's headline takes its last
//! column from the table, so a figure is written once.
//!
//! Checked by the tests below.

use std::fmt::Write as _;

use super::table;
use crate::busy::LOADS;
use crate::record::{Judged, Record};
use crate::rows::Kind;

/// The benchmarks, and the groups of their rows that are measured under loads.
pub const GROUPS: [(&str, &[&str]); 4] = [
    (
        "threads",
        &[
            "join tree 1023",
            "spawn inside",
            "spawn outside",
            "scope 10^6",
            "job parked",
            "region hot",
            "region idle",
            "region back to back",
            "map longer",
            "imap",
            "crowd jobs",
        ],
    ),
    (
        "event_loop",
        &[
            "timers due",
            "echo 1",
            "echo 64",
            "wake round trip",
            "wake messages",
        ],
    ),
    (
        "processes",
        &[
            "start small",
            "call back to back",
            "call one cpu",
            "callers",
            "separate",
            "map short",
            "bulk 64K",
            "bulk 1M",
            "bulk 16M",
        ],
    ),
    ("channels", &["bounded", "answers", "mutex"]),
];

/// The name of a record's file.
#[must_use]
pub fn file(bench: &str, group: &str, load: &str) -> String {
    let group: String = group
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{bench}.{group}.{load}.record")
}

/// The loads' names in the table's head.
const HEADS: [&str; LOADS.len()] = [
    "quiet",
    "busy",
    "busy, nice 10",
    "one processor",
    "one processor, busy",
];

/// What a line of counts begins with.
const AHEAD: &str = "Ahead of the best peer, or level within a tenth:";

/// The table of these records.
#[must_use]
pub fn table(records: &[Record]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for row in records.iter().flat_map(|record| &record.rows) {
        if row.best(Kind::Peer).is_some() && !names.contains(&&*row.name) {
            names.push(&row.name);
        }
    }
    let find = |name: &str, load| {
        let records = records.iter().filter(|record| record.load == load);
        let mut rows = records.flat_map(|record| &record.rows);
        rows.find(|row| row.name == name)
    };
    let mut out = format!("| work | {} |\n", HEADS.join(" | "));
    out += &format!("|---|{}\n", "---|".repeat(HEADS.len()));
    for name in names {
        let cells = LOADS.map(|(_, load)| find(name, load).map_or(String::new(), cell));
        let name = name.replace('|', "\\|");
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    let mut counts = Vec::new();
    for ((_, load), head) in LOADS.iter().zip(HEADS) {
        let of_load = records.iter().filter(|record| record.load == *load);
        let rows: Vec<Judged> = of_load.flat_map(|record| record.rows.clone()).collect();
        if let (ahead, all @ 1..) = table::ahead(&rows) {
            counts.push(format!("{head} {ahead} of {all} rows"));
        }
    }
    let _ = writeln!(out, "\n{AHEAD} {}.", counts.join("; "));
    out
}

/// trefoil's figure, how many times that of the best peer it is, and which that is.
fn cell(row: &Judged) -> String {
    let (Some(ours), Some(peer)) = (row.best(Kind::Ours), row.best(Kind::Peer)) else {
        return String::new();
    };
    let times = match peer.value > 0.0 {
        true => format!(" ×{:.2} {}", ours.value / peer.value, peer.name),
        false => String::new(),
    };
    format!("{}{times}", row.unit.show(ours.value)).replace('|', "\\|")
}

/// The ratio of the row with this name on a busy machine, as the document of that table has it.
#[must_use]
pub fn busy(document: &str, name: &str) -> String {
    let start = format!("| {name} |");
    let line = document.lines().find(|line| line.starts_with(&start));
    let cell = line.and_then(|line| line[start.len()..].split(" | ").nth(1));
    let ratio = cell.and_then(|cell| cell.split(' ').find(|word| word.starts_with('×')));
    ratio.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::busy::Load;
    use crate::judge::judge;
    use crate::rows::{Goal, Measured, Row, Unit};

    fn record(load: &str, ours: f64) -> Record {
        let measured = Measured::new(vec![
            ("trefoil", Kind::Ours, vec![ours]),
            ("rayon", Kind::Peer, vec![2e3]),
        ]);
        let row = Row::new("a `join`", Unit::Us, &[Goal::Ahead]);
        Record {
            load: Load::named(load).unwrap(),
            rows: vec![judge(&row, &measured)],
            ..Record::default()
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_load() {
        let text = table(&[record("quiet", 1e3), record("busy", 5e3)]);
        let row = "| a `join` | 1.00 µs ×0.50 rayon | 5.00 µs ×2.50 rayon |  |  |  |\n";
        assert!(text.contains(row), "{text}");
        assert!(
            text.ends_with("quiet 1 of 1 rows; busy 0 of 1 rows.\n"),
            "{text}"
        );
        assert_eq!(busy(&text, "a `join`"), "×2.50");
        assert_eq!(busy(&text, "another"), "");
    }

    /// (`--only NAME` runs all groups whose name contains this.)
    #[test]
    fn each_group_is_one_of_its_benchmark() {
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
        for (bench, groups) in GROUPS {
            let files = [format!("{bench}/main.rs"), format!("{bench}.rs")];
            let mut texts = files
                .iter()
                .map(|file| std::fs::read_to_string(at.join(file)));
            let text = texts.find_map(Result::ok).expect(bench);
            for group in groups {
                let named = format!("{group}\", ");
                assert!(text.contains(&named), "{bench} has no group {group}");
            }
        }
    }

    #[test]
    fn each_group_has_a_file_of_its_own() {
        let mut all = Vec::new();
        for (bench, groups) in GROUPS {
            all.extend(groups.iter().map(|group| file(bench, group, "busy")));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
