//! How many lines know of an optional feature, outside its own files.
//!
//! A reader pays for what stands in forty files. The table "Optional features" of
//! `docs/internals/ARCHITECTURE.md` has, for each feature, the names by which other code knows it,
//! its own files, and its debt: a feature has at most [`LINES`] lines in [`FILES`] files elsewhere
//! in
//! `src/`, or exactly as many as its debt says, which may only shrink.

use crate::source::{File, Finding};

const PAGE: &str = "docs/internals/ARCHITECTURE.md";
const BEGIN: &str = "## Optional features";
const LINES: usize = 25;
const FILES: usize = 12;

/// The feature of a row: its names, the beginnings of its paths, its debt.
struct Feature<'a> {
    names: Vec<&'a str>,
    own: Vec<&'a str>,
    debt: Option<(usize, usize)>,
}

impl<'a> Feature<'a> {
    fn of(row: &'a str) -> Option<Self> {
        let mut cells = row.trim_matches('|').split('|').skip(1);
        let spans = |cell: &'a str| cell.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let (names, own) = (spans(cells.next()?), spans(cells.next()?));
        let debt = cells.next()?.trim().split_once('/');
        let debt = debt.and_then(|(lines, files)| Some((lines.parse().ok()?, files.parse().ok()?)));
        (!names.is_empty()).then_some(Self { names, own, debt })
    }

    /// How many lines name it, and in how many files.
    fn hooks(&self, tree: &[File]) -> (usize, usize) {
        let (mut lines, mut files) = (0, 0);
        for file in tree {
            let Some(path) = file.path.strip_prefix("src/") else {
                continue;
            };
            if file.is_for_tests() || self.own.iter().any(|own| path.starts_with(own)) {
                continue;
            }
            let code = file.lines.iter().map(|line| line.code.as_str());
            let code = code.take_while(|code| !is_test(code));
            let count = code.filter(|code| self.is_named(code)).count();
            lines += count;
            files += usize::from(count > 0);
        }
        (lines, files)
    }

    fn is_named(&self, code: &str) -> bool {
        let mut words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| self.names.contains(&word))
    }
}

/// The tests of a file are at its end.
fn is_test(code: &str) -> bool {
    code.starts_with("#[cfg(test)]") || code.starts_with("#[cfg(all(test")
}

pub(crate) fn few(file: &File, tree: &[File]) -> Vec<Finding> {
    if file.path != PAGE {
        return Vec::new();
    }
    let (mut findings, mut inside, mut rows) = (Vec::new(), false, 0);
    for (at, line) in file.lines.iter().enumerate() {
        if line.raw.starts_with("## ") {
            inside = line.raw == BEGIN;
        }
        let feature = if inside { Feature::of(&line.raw) } else { None };
        let Some(feature) = feature else { continue };
        rows += 1;
        let (lines, files) = feature.hooks(tree);
        let is_few = lines <= LINES && files <= FILES;
        let what = match feature.debt {
            _ if lines == 0 => "nothing names it: are its names right?".to_owned(),
            None if is_few => continue,
            Some(_) if is_few => "its debt is paid: leave it out".to_owned(),
            Some(debt) if debt == (lines, files) => continue,
            Some(debt) if lines <= debt.0 && files <= debt.1 => {
                format!("its debt is smaller: {lines}/{files}")
            }
            _ => format!("{lines} lines in {files} files know of it, and {LINES} in {FILES} may"),
        };
        findings.push(Finding::new(file, at, "hooks", what));
    }
    if rows == 0 {
        let what = format!("no row below `{BEGIN}`");
        findings.push(Finding::new(file, 0, "hooks", what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(row: &str, code: &str) -> String {
        let page = File::new(
            PAGE,
            &format!("{BEGIN}\n\n| f | names | own | debt |\n|---|---|---|---|\n{row}\n"),
        );
        let tree = [
            File::new("src/own.rs", &"swim();\n".repeat(99)),
            File::new("src/other.rs", code),
        ];
        let findings = few(&page, &tree);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_feature_that_many_lines_know_is_found() {
        let row = |debt: &str| format!("| swimming | `swim`, `Swimmer` | `own.rs` | {debt} |");
        let few = "swim(); // once\n// swim\n\"swim\"\nswimming();\n#[cfg(test)]\nswim();\n";
        let many = "Swimmer::new();\n".repeat(26);
        assert_eq!(judged(&row(""), few), "");
        assert!(judged(&row(""), &many).contains("26 lines in 1 files"));
        assert_eq!(judged(&row("26/1"), &many), "");
        assert!(judged(&row("27/1"), &many).contains("smaller: 26/1"));
        assert!(judged(&row("25/1"), &many).contains("26 lines"));
        assert!(judged(&row("26/1"), few).contains("paid"));
        assert!(judged(&row(""), "").contains("nothing"));
        assert!(judged("", few).contains("no row"));
    }
}
