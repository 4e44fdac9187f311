//! The pages stay as short as their readers have time for.
//!
//! 1. README, the pages of `docs/` and those of `docs/internals/` have at most as many words as
//!    [`LIMITS`] says. A page that gains a paragraph loses one elsewhere.
//! 2. Of the words of the pages of `docs/`, at most a fifth are in cells of tables: a reader who
//!    learns reads sentences and examples.
//!
//! Not counted: generated lists, and the records of decisions.

use crate::source::{File, Finding};

/// A group of pages, and the most words that they have together.
const LIMITS: [(&str, usize); 3] = [
    ("README.md", 750),
    (GUIDES, 27_000),
    ("docs/internals/", 8_000),
];

/// The pages of `docs/` itself.
const GUIDES: &str = "docs/";

/// Of so many words of a guide, one may be in a cell.
const CELLS: usize = 5;

/// What a program writes.
const GENERATED: &str = "docs/internals/UNSAFE.md";

/// The group that a file belongs to.
fn group(path: &str) -> Option<&'static str> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_page = path.ends_with(".md") && path != GENERATED;
    let mut groups = LIMITS.iter().map(|limit| limit.0);
    groups.find(|group| is_page && (*group == path || group.strip_suffix('/') == Some(folder)))
}

fn words(line: &str) -> usize {
    line.split_whitespace().count()
}

/// Both rules.
pub(crate) fn short(tree: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, most) in LIMITS {
        let pages: Vec<&File> = tree
            .iter()
            .filter(|file| group(&file.path) == Some(name))
            .collect();
        let Some(last) = pages.last() else {
            continue;
        };
        let (mut all, mut cells) = (0, 0);
        for page in &pages {
            let mut fenced = false;
            for line in &page.lines {
                let text = line.raw.trim_start();
                fenced ^= text.starts_with("```");
                all += words(text);
                if !fenced && text.starts_with('|') {
                    cells += text.split('|').map(words).sum::<usize>();
                }
            }
        }
        let mut report = |what| findings.push(Finding::new(last, 0, "long", what));
        if all > most {
            report(format!(
                "the pages {name} have {all} words, of at most {most}"
            ));
        }
        if name == GUIDES && cells * CELLS > all {
            report(format!("of {all} words in {name}, {cells} are in tables"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_too_long_are_reported() {
        let count = |pages: &[(&str, usize)]| {
            let file = |(path, words): &(&str, usize)| File::new(path, &"word ".repeat(*words));
            short(&pages.iter().map(file).collect::<Vec<_>>()).len()
        };
        assert_eq!(count(&[("README.md", 750), ("crates/a/README.md", 751)]), 0);
        assert_eq!(count(&[("README.md", 751)]), 1);
        assert_eq!(count(&[("docs/A.md", 13_000), ("docs/B.md", 14_000)]), 0);
        assert_eq!(count(&[("docs/A.md", 13_000), ("docs/B.md", 14_001)]), 1);
        let decision = "docs/internals/decisions/a.md";
        assert_eq!(count(&[("docs/internals/A.md", 8_000), (decision, 9)]), 0);
        assert_eq!(count(&[("docs/internals/A.md", 8_001)]), 1);
        assert_eq!(
            count(&[("docs/internals/UNSAFE.md", 8_001), ("docs/a.txt", 30_000)]),
            0
        );
    }

    #[test]
    fn a_page_of_tables_is_reported() {
        let count = |path, text: &str| short(&[File::new(path, text)]).len();
        let table = "| one | two |\n|---|---|\n";
        assert_eq!(count("docs/A.md", table), 1);
        assert_eq!(
            count("docs/A.md", &format!("{table}{}", "word ".repeat(15))),
            0
        );
        assert_eq!(count("docs/A.md", &format!("```text\n{table}```\n")), 0);
        assert_eq!(count("README.md", table), 0);
    }
}
