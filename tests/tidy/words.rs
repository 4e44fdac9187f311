//! What a file must say, and what it must not.
//!
//! Every file begins with an essay, which is short in production files. The paths that it names
//! exist, lines are not too long, examples compile, and there are no leftovers. All of this is
//! prose, and prose that no program checks is soon outdated.

use crate::source::{File, Finding};
use std::path::Path;

/// Every Rust file opens with `//!`: what it is for.
pub(crate) fn essay(file: &File) -> Vec<Finding> {
    let first = file
        .lines
        .iter()
        .map_while(|line| if line.has_code() { None } else { line.essay() })
        .find(|line| !line.is_empty());
    if !file.is_rust() || first.is_some() {
        return Vec::new();
    }
    let what = "opens without a line of `//!` that says what it is for";
    vec![Finding::new(file, 0, "essay", what.to_owned())]
}

/// Every path that a document or a comment names in backticks, and every
/// relative link of a document, exists; `path::name` must occur in the file.
pub(crate) fn paths(file: &File, tree: &[File]) -> Vec<Finding> {
    const PLACES: [&str; 8] = [
        "src/",
        "crates/",
        "tests/",
        "benches/",
        "examples/",
        "docs/",
        ".ci/",
        ".config/",
    ];
    let markdown = file.path.ends_with(".md");
    if !markdown && !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut fenced = false;
    for (at, line) in file.lines.iter().enumerate() {
        let text = if markdown { &line.raw } else { &line.comment };
        fenced ^= markdown && text.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let spans = text.split('`').skip(1).step_by(2);
        let named = spans.filter(|span| PLACES.iter().any(|place| span.starts_with(place)));
        let mut wanted: Vec<String> = named.map(str::to_owned).collect();
        if markdown {
            wanted.extend(links(text).filter_map(|link| resolve(&file.path, link)));
        }
        for want in wanted {
            if want.contains(['*', '<', ' ', '…', '{']) {
                continue; // a pattern, not a path
            }
            // A member of the workspace may speak of its own directories.
            let mut homes = Path::new(&file.path).ancestors().skip(1);
            if !homes.any(|home| exists(&home.join(&want).to_string_lossy(), tree)) {
                findings.push(Finding::new(
                    file,
                    at,
                    "path",
                    format!("`{want}` does not exist"),
                ));
            }
        }
    }
    findings
}

/// Prose has at most 100 columns: comments, and documents. Tables, diagrams, code, links and other
/// single words have as many as they need.
pub(crate) fn width(file: &File) -> Vec<Finding> {
    const COLUMNS: usize = 100;
    let markdown = file.path.ends_with(".md");
    let mut findings = Vec::new();
    let (mut fenced, mut hidden, mut written) = (false, false, false);
    for (at, line) in file.lines.iter().enumerate() {
        let text = line.raw.trim_start();
        let prose = match markdown {
            true => text,
            false if file.is_rust() && text.starts_with("//") => {
                text.trim_start_matches(['/', '!']).trim_start()
            }
            false => {
                fenced = false;
                continue;
            }
        };
        fenced ^= prose.starts_with("```");
        hidden |= markdown && prose.starts_with("<!--");
        written |= markdown && prose.starts_with("<!-- begin"); // by a program, until the mark of its end
        written &= !prose.starts_with("<!-- end");
        let is_prose = !fenced
            && !hidden
            && !written
            && !prose.starts_with(['|', '!', '#'])
            && !prose.contains(['│', '├', '└', '┌', '┼', '─'])
            && prose.split_whitespace().nth(1).is_some()
            && !prose.contains("](");
        hidden &= !prose.contains("-->");
        if is_prose && line.raw.chars().count() > COLUMNS {
            let what = format!("prose of more than {COLUMNS} columns");
            findings.push(Finding::new(file, at, "width", what));
        }
    }
    findings
}

/// No leftovers, and no words about one machine.
pub(crate) fn forbidden(file: &File) -> Vec<Finding> {
    // Spelt in halves, so that this table does not report itself.
    const LEFTOVERS: [&str; 5] = [
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("to", "do!("),
        concat!("TO", "DO"),
        concat!("unimpl", "emented!("),
    ];
    const MACHINES: [&str; 5] = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/tmp/", "bash"),
    ];
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        for word in LEFTOVERS.into_iter().filter(|word| line.raw.contains(word)) {
            findings.push(Finding::new(
                file,
                at,
                "leftover",
                format!("`{word}`: finish it, or say in a sentence what is absent and why"),
            ));
        }
        for word in MACHINES.into_iter().filter(|word| line.raw.contains(word)) {
            findings.push(Finding::new(
                file,
                at,
                "machine",
                format!("`{word}` is a path of one machine"),
            ));
        }
    }
    findings
}

/// Examples in documentation compile: nothing is fenced as `ignore`.
pub(crate) fn compiled(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let text = line.comment.trim_start_matches(['/', '!']).trim_start();
        let text = if file.path.ends_with(".md") {
            line.raw.trim_start()
        } else {
            text
        };
        let tags = text.strip_prefix("```").unwrap_or_default();
        if tags.split(',').any(|tag| tag.trim() == "ignore") {
            findings.push(Finding::new(
                file,
                at,
                "uncompiled",
                "no example is ignored: use `no_run`, `compile_fail` or `text`",
            ));
        }
    }
    findings
}

/// The targets of a line's Markdown links, or the one that it defines.
pub(crate) fn links(text: &str) -> impl Iterator<Item = &str> {
    let defined = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "));
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .chain(defined.map(|(_, target)| target.trim()))
}

/// A relative link as a path of the checkout; `None` for anything else.
pub(crate) fn resolve(from: &str, link: &str) -> Option<String> {
    let link = link.split('#').next()?;
    if link.is_empty() || link.contains("::") || link.contains(':') || !link.contains(['.', '/']) {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn exists(want: &str, tree: &[File]) -> bool {
    let (path, name) = want.split_once("::").unwrap_or((want, ""));
    let path = path.trim_end_matches('/');
    let inside = format!("{path}/");
    let mut files = tree
        .iter()
        .filter(|file| file.path == path || file.path.starts_with(&inside));
    let last = name
        .rsplit("::")
        .next()
        .unwrap_or_default()
        .trim_end_matches("()");
    files.any(|file| last.is_empty() || file.lines.iter().any(|line| line.raw.contains(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File::new(path, text)
    }

    #[test]
    fn a_file_without_an_essay_is_reported() {
        assert_eq!(essay(&file("src/a.rs", "use std::io;")).len(), 1);
        assert_eq!(
            essay(&file(
                "src/a.rs",
                "// A comment is no essay, long as it is.\n"
            ))
            .len(),
            1
        );
        assert_eq!(
            essay(&file("src/a.rs", "use a;\n//! Too late to be an essay.")).len(),
            1
        );
        assert_eq!(
            essay(&file(
                "src/a.rs",
                "//! One sentence for a short file.\nuse std::io;"
            ))
            .len(),
            0
        );
    }

    #[test]
    fn a_path_that_does_not_exist_is_reported() {
        let tree = [
            file("src/task/mod.rs", "fn spawn() {}"),
            file("docs/A.md", ""),
            file("tests/trefoil-checks/tests/models.rs", ""),
        ];
        let check = |path: &str, text: &str| paths(&file(path, text), &tree).len();
        assert_eq!(check("README.md", "see `src/task/cell.rs`"), 1);
        assert_eq!(check("README.md", "see [it](docs/B.md)"), 1);
        assert_eq!(check("README.md", "[it]: docs/B.md"), 1);
        assert_eq!(check("docs/A.md", "see [it](../src/nowhere)"), 1);
        assert_eq!(check("src/a.rs", "//! Checked by `tests/gone.rs`."), 1);
        assert_eq!(
            check("src/a.rs", "//! Checked by `src/task/mod.rs::gone`."),
            1
        );
        assert_eq!(
            check(
                "src/a.rs",
                "//! Checked by `src/task/mod.rs::spawn`, `src/task/`."
            ),
            0
        );
        assert_eq!(
            check(
                "docs/A.md",
                "[a](../src/task/mod.rs#x) [b](https://x.y/z) [c](crate::Task)"
            ),
            0
        );
        assert_eq!(check("docs/x.md", "`tests/a.rs`"), 1);
        assert_eq!(check("src/a.rs", "//! see `benches/`"), 1);
        assert_eq!(
            check(
                "tests/trefoil-checks/src/lib.rs",
                "//! see `tests/models.rs`"
            ),
            0
        );
        assert_eq!(check("README.md", "```text\n`src/gone.rs`\n```"), 0);
    }

    #[test]
    fn leftovers_and_machine_paths_are_reported() {
        assert_eq!(
            forbidden(&file("src/a.rs", concat!("// FIX", "ME later"))).len(),
            1
        );
        assert_eq!(
            forbidden(&file("docs/A.md", concat!("in /ho", "me/someone"))).len(),
            1
        );
        assert_eq!(forbidden(&file("src/a.rs", "//! works at home")).len(), 0);
    }

    #[test]
    fn an_uncompiled_example_is_reported() {
        assert_eq!(
            compiled(&file("src/a.rs", "//! ```ignore\n//! x\n//! ```")).len(),
            1
        );
        assert_eq!(
            compiled(&file("README.md", "```rust,ignore\nx\n```")).len(),
            1
        );
        assert_eq!(
            compiled(&file("src/a.rs", "//! ```no_run\n//! x\n//! ```")).len(),
            0
        );
    }
}
