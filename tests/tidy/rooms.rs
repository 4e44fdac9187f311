//! Where something is decided: each file, and each name in it, that the lists of
//! `docs/internals/ARCHITECTURE.md` point at exists.
//!
//! An entry names files, with `{a,b}` and `*` for several, and in parentheses the file of the names
//! before it: a function, a constant, a variant.

use crate::source::{File, Finding};

const PAGE: &str = "docs/internals/ARCHITECTURE.md";
const BEGIN: &str = "## Where is it decided?";

/// Where the paths of an entry may begin.
const ROOTS: [&str; 4] = [
    "src/",
    "crates/trefoil-os/src/",
    "crates/trefoil-trace/src/",
    "",
];

/// The entries of the lists, each as one line, with the number of its first.
fn entries(file: &File) -> Vec<(usize, String)> {
    let (mut entries, mut inside) = (Vec::<(usize, String)>::new(), false);
    for (at, line) in file.lines.iter().enumerate() {
        if line.raw.starts_with("## ") {
            inside = line.raw == BEGIN;
        }
        match entries.last_mut() {
            _ if !inside => {}
            _ if line.raw.starts_with("- ") => entries.push((at, line.raw.clone())),
            Some((_, entry)) if line.raw.starts_with("  ") => {
                entry.push(' ');
                *entry += line.raw.trim();
            }
            _ => {}
        }
    }
    entries
}

pub(crate) fn found(file: &File, tree: &[File]) -> Vec<Finding> {
    if file.path != PAGE {
        return Vec::new();
    }
    let (mut findings, mut rooms) = (Vec::new(), 0);
    for (at, entry) in entries(file) {
        let mut report = |what| findings.push(Finding::new(file, at, "room", what));
        let parts: Vec<&str> = entry.split('`').collect();
        for here in (1..parts.len()).step_by(2).filter(|at| is_path(parts[*at])) {
            rooms += 1;
            let patterns = expanded(parts[here]);
            for pattern in &patterns {
                if files(pattern, tree).next().is_none() {
                    report(format!("`{pattern}` does not exist"));
                }
            }
            let mut before = here;
            while before > 1 && parts[before - 1] == if before == here { " (" } else { ", " } {
                before -= 2;
                let name = parts[before].rsplit([':', ' ']).next().unwrap_or_default();
                let mut all = patterns.iter().flat_map(|pattern| files(pattern, tree));
                if !is_path(parts[before]) && !all.any(|file| has(file, name)) {
                    report(format!("`{}` has no `{name}`", parts[here]));
                }
            }
        }
    }
    if rooms == 0 {
        let what = format!("no entry names a file below `{BEGIN}`");
        findings.push(Finding::new(file, 0, "room", what));
    }
    findings
}

fn is_path(span: &str) -> bool {
    span.ends_with(".rs") || span.ends_with('/')
}

/// A path for each alternative in braces.
pub(crate) fn expanded(path: &str) -> Vec<String> {
    let braces = path.split_once('{').and_then(|(before, rest)| {
        let (inner, after) = rest.split_once('}')?;
        Some((before, inner, after))
    });
    match braces {
        Some((before, inner, after)) => {
            let each = inner.split(',').map(|one| format!("{before}{one}{after}"));
            each.collect()
        }
        None => vec![path.to_owned()],
    }
}

/// The files that a path stands for: itself, those of a directory, those of each system.
fn files<'a>(pattern: &'a str, tree: &'a [File]) -> impl Iterator<Item = &'a File> {
    tree.iter().filter(move |file| {
        let mut rests = ROOTS.iter().filter_map(|root| file.path.strip_prefix(root));
        rests.any(|rest| match pattern.split_once('*') {
            Some((before, after)) => {
                let system = rest.strip_prefix(before);
                let system = system.and_then(|rest| rest.strip_suffix(after));
                system.is_some_and(|system| !system.contains('/'))
            }
            None => rest == pattern || pattern.ends_with('/') && rest.starts_with(pattern),
        })
    })
}

fn has(file: &File, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut lines = file.lines.iter();
    lines.any(|line| line.code.split(|c| !is_part(c)).any(|word| word == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_leads_nowhere_is_reported() {
        let tree = [
            File::new("src/a/b.rs", "fn one() {} // two"),
            File::new(
                "crates/trefoil-os/src/sys/unix/c.rs",
                "const THREE: u8 = 3;",
            ),
        ];
        let count = |entry: &str| {
            let page = format!("- `no/where.rs`\n{BEGIN}\n- {entry}\n## Next\n- `no/where.rs`");
            found(&File::new(PAGE, &page), &tree).len()
        };
        assert_eq!(
            found(&File::new(PAGE, "## Other\n- `a/b.rs`"), &tree).len(),
            1
        );
        assert_eq!(count("x: y"), 1);
        assert_eq!(count("x: `a/b.rs`, `a/`;\n  y, `one`\n  (`a/b.rs`)"), 0);
        assert_eq!(count("x: `A::one`, `THREE` (`sys/*/c.rs`)"), 1);
        assert_eq!(count("x: `two` (`a/b.rs`)"), 1);
        assert_eq!(count("x: `a/{b,c}.rs`, `sys/*/d.rs`, `e/`"), 3);
        assert_eq!(
            count("what `two` is, `a/b.rs`; `a/b.rs`, `THREE` (`sys/unix/c.rs`)"),
            0
        );
    }
}
