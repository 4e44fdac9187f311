//! Each claim in a table of conformance names a test that exists.
//!
//! `tests/CONFORMANCE.md` has tables of cases, whose last column is "shown by". In each row it
//! names tests, in backquotes, as `file::test`:
//! `edge_cases::many_block_ons_with_wakes_between_them` is a function of that name in some
//! `edge_cases.rs`, and the file may be given with its path. If a test was renamed or removed, the
//! row is reported.

use crate::source::{File, Finding};

const PAGE: &str = "tests/CONFORMANCE.md";

/// Each row of such a table names at least one test, and each test that it names exists.
pub(crate) fn shown(file: &File, tree: &[File]) -> Vec<Finding> {
    if file.path != PAGE {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut head = None; // the last cell of the table's first row
    for (at, line) in file.lines.iter().enumerate() {
        let row = line.raw.trim();
        if !row.starts_with('|') {
            head = None;
            continue;
        }
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap_or("");
        let rule = row.chars().all(|c| "|-: ".contains(c));
        if rule || *head.get_or_insert(cell.trim()) != "shown by" || cell.trim() == "shown by" {
            continue;
        }
        let mut spans = cell.split('`').skip(1).step_by(2).peekable();
        if spans.peek().is_none() {
            let what = "this row names no test that shows it: `file::test`";
            findings.push(Finding::new(file, at, "conformance", what));
        }
        for span in spans.filter(|span| !is_there(tree, span)) {
            let what = format!("there is no test `{span}`");
            findings.push(Finding::new(file, at, "conformance", what));
        }
    }
    findings
}

fn is_there(tree: &[File], span: &str) -> bool {
    let Some((module, test)) = span.split_once("::") else {
        return false;
    };
    let name = format!("/{}.rs", module.trim_end_matches(".rs"));
    let start = format!("fn {test}(");
    tree.iter()
        .filter(|file| file.is_rust() && format!("/{}", file.path).ends_with(&name))
        .any(|file| file.lines.iter().any(|line| line.code.contains(&start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_test_that_exists_is_reported() {
        let tree = [File::new("tests/loops/edges.rs", "fn short() {}\n")];
        let count = |table: &str| {
            let text = format!("| case | shown by |\n|---|---|\n{table}\n");
            shown(&File::new(PAGE, &text), &tree).len()
        };
        assert_eq!(count("| a | `edges::short` |"), 0);
        assert_eq!(count("| `a::b` | `tests/loops/edges.rs::short` |"), 0);
        assert_eq!(count("| a | `edges::short`, `edges::long` |"), 1);
        assert_eq!(count("| a | `edge::short` |"), 1);
        assert_eq!(count("| a | by eye |\n| b | `short` |"), 2);
        assert_eq!(count("| a | |"), 1);
        let other = File::new("docs/OTHER.md", "| shown by |\n| b |");
        assert!(shown(&other, &tree).is_empty());
        let commands = File::new(PAGE, "| what | command |\n|---|---|\n| a | `b` |");
        assert!(shown(&commands, &tree).is_empty());
    }
}
