//! The list of conformance cases names tests that exist.
//!
//! A row of a table in `docs/CONFORMANCE.md` claims something; the tests that show it are its last cell, as
//! `file::name`. A test that was renamed or removed takes the claim with it, so the row is reported.

use crate::source::{File, Finding};

const LIST: &str = "docs/CONFORMANCE.md";

/// Every row of the list ends in tests, and each of these is a function of the file that it names.
pub(crate) fn shown(file: &File, tree: &[File]) -> Vec<Finding> {
    if file.path != LIST {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let Some(cell) = last_cell(&line.raw) else {
            continue;
        };
        let tests: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            let what = "a case without a test";
            findings.push(Finding::new(file, at, "conformance", what));
        }
        for test in tests.into_iter().filter(|test| !is_there(test, tree)) {
            let what = format!("there is no test `{test}`");
            findings.push(Finding::new(file, at, "conformance", what));
        }
    }
    findings
}

/// The last cell of a table's row, if it is one: not a header, not the line below it.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let cell = row.rsplit('|').next()?.trim();
    let is_rule = !cell.is_empty() && cell.chars().all(|c| matches!(c, '-' | ':'));
    (!is_rule && cell != "shown by").then_some(cell)
}

fn is_there(test: &str, tree: &[File]) -> bool {
    let Some((path, name)) = test.split_once("::") else {
        return false;
    };
    let head = format!("fn {name}()");
    let file = tree.iter().find(|file| file.path == path);
    file.is_some_and(|file| {
        let mut lines = file.lines.iter();
        lines.any(|line| line.code.trim_start().starts_with(&head))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_without_a_test_is_reported() {
        let tests = File::new(
            "tests/a.rs",
            "tests! {\n    fn one() {\n}\n}\nfn other(n: u32) {}",
        );
        let list = "\
| case | here | shown by |
|---|---|---|
| 1 | it is | `tests/a.rs::one` |
| 2 | it was | `tests/a.rs::one`, `tests/a.rs::two` |
| 3 | it will be | |
| 4 | it seems | `tests/a.rs::other` |
| 5 | it may | `tests/b.rs::one` |
| 6 | | by hand |
";
        let tree = [tests, File::new(LIST, list)];
        let found: Vec<String> = shown(&tree[1], &tree)
            .iter()
            .map(ToString::to_string)
            .collect();
        let lines: Vec<bool> = (1..=8)
            .map(|n| {
                found
                    .iter()
                    .any(|finding| finding.starts_with(&format!("{LIST}:{n}:")))
            })
            .collect();
        assert_eq!(
            lines,
            [false, false, false, true, true, true, true, true],
            "{found:?}"
        );
        assert!(shown(&File::new("docs/OTHER.md", list), &tree).is_empty());
    }
}
