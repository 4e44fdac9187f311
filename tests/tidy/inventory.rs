//! A page is made of the files themselves, so that a row is wrong only if its file is.
//!
//! `docs/internals/UNSAFE.md` is the inventory of unsafe code. A row has the file; its job, which
//! is the first sentence of its essay; how many blocks and implementations have a reason
//! (`SAFETY:`); the invariants that these cite; and what the essay says of tests.
//!
//! `TREFOIL_INVENTORY=write cargo test --test tidy` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::danger::{ATTRIBUTE, citations};
use crate::source::{File, Finding};

const UNSAFE: &str = "docs/internals/UNSAFE.md";
const HEAD: &str = "# Inventory of unsafe code

Made by `tests/tidy/inventory.rs` of the files themselves; [SAFETY.md] has the rules. An invariant
is declared in the documentation of its area's module, as `- **T3** ..`.

| file | its job | reasons | invariants | tests |
|---|---|---|---|---|
";

fn has_unsafe(file: &File) -> bool {
    let places = ["src/", "crates/", "tests/foreign/"];
    places.iter().any(|place| file.path.starts_with(place))
        && file.lines.iter().any(|line| line.code.contains(ATTRIBUTE))
}

/// The essay's paragraphs, each in one line.
fn paragraphs(file: &File) -> Vec<String> {
    let lines = file.lines.iter().take_while(|line| !line.has_code());
    let mut all = vec![String::new()];
    for line in lines.filter_map(|line| line.essay()) {
        match line.trim() {
            "" => all.push(String::new()),
            text => {
                let last = all.last_mut().expect("there is always one");
                *last += if last.is_empty() { "" } else { " " };
                *last += text;
            }
        }
    }
    all
}

/// The first sentence of an essay.
fn job(paragraphs: &[String]) -> &str {
    paragraphs[0].split(". ").next().unwrap_or_default()
}

fn cell(text: &str) -> String {
    text.trim_end_matches(['.', ':']).replace('|', "\\\\|")
}

fn row(file: &File) -> String {
    let paragraphs = paragraphs(file);
    let job = job(&paragraphs);
    let tested = |text: &&String| text.starts_with("Test") || text.starts_with("Checked by");
    let tests = paragraphs.iter().find(tested).map_or("", |text| text);
    let tests = tests.split(". Rejected").next().unwrap_or_default();
    let tests = tests.trim_start_matches("Tests: ");
    let (mut reasons, mut cited) = (0, BTreeSet::new());
    let mut inside = false;
    for line in &file.lines {
        reasons += usize::from(line.comment.contains("SAFETY:"));
        inside = line.comment.contains("SAFETY:")
            || (inside && !line.has_code() && !line.comment.is_empty());
        if inside {
            cited.extend(citations(&line.comment).into_iter().map(|name| {
                let number: u32 = name[1..].parse().unwrap_or(0);
                (name[..1].to_owned(), number)
            }));
        }
    }
    let cited: Vec<String> = cited
        .iter()
        .map(|(letter, number)| format!("{letter}{number}"))
        .collect();
    format!(
        "| `{}` | {} | {reasons} | {} | {} |\n",
        file.path,
        cell(job),
        cited.join(", "),
        cell(tests)
    )
}

/// The page of unsafe code, as it should be.
fn unsafe_code(tree: &[File]) -> String {
    let mut out = HEAD.to_owned();
    let mut files: Vec<&File> = tree.iter().filter(|file| has_unsafe(file)).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for file in files {
        out += &row(file);
    }
    let _ = writeln!(out, "\n[SAFETY.md]: SAFETY.md");
    out
}

/// The page, with its path, as it should be.
pub(crate) fn page(tree: &[File]) -> (&'static str, String) {
    (UNSAFE, unsafe_code(tree))
}

/// The page is as it should be.
pub(crate) fn current(tree: &[File]) -> Option<Finding> {
    let first = tree.first()?;
    let (path, wanted) = page(tree);
    let page = tree.iter().find(|file| file.path == path);
    let lines = page.iter().flat_map(|page| &page.lines);
    let text: String = lines.map(|line| format!("{}\n", line.raw)).collect();
    (text != wanted).then(|| {
        let what = format!("{path} is old: TREFOIL_INVENTORY=write cargo test --test tidy");
        Finding::new(page.unwrap_or(first), 0, "page-old", what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_its_file_says() {
        let text = "//! Moves bytes. And more.\n//!\n//! Tests: below.\n#![allow(unsafe_code)]\n// SAFETY: T12, and\n// T3.\nunsafe { f() }\n// T4 is elsewhere\n";
        let mut tree = vec![File::new("src/task/raw.rs", text)];
        let (path, text) = page(&tree);
        let row = "| `src/task/raw.rs` | Moves bytes | 1 | T3, T12 | below |\n";
        assert!(text.contains(row), "{text}");
        assert!(current(&tree).is_some());
        tree.push(File::new(path, &text));
        assert!(current(&tree).is_none());
    }
}
