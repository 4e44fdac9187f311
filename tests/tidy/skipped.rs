//! Each test that is left out where it cannot run exists.
//!
//! `.ci/wine` and `.ci/qemu` have a line for each such test: its name, `module::test`, a space and
//! the reason. `.ci/long` passes the names to `--skip` and ignores other lines, so a test that was
//! renamed or removed would run again, or leave out another one, and nobody would see it.

use crate::source::{File, Finding};

const LISTS: [&str; 2] = [".ci/qemu", ".ci/wine"];

/// Each line names a function of a module of a test program, whose name begins no other's (`--skip`
/// would leave out that one, too), and gives a reason.
pub(crate) fn there(file: &File, tree: &[File]) -> Vec<Finding> {
    if !LISTS.contains(&file.path.as_str()) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let mut report = |what| findings.push(Finding::new(file, at, "skipped", what));
        let (name, reason) = line.raw.split_once(' ').unwrap_or((&line.raw, ""));
        if reason.trim().is_empty() {
            report("a test that is left out has a reason: `module::test reason`".to_owned());
        }
        let (module, test) = name.split_once("::").unwrap_or(("", name));
        let begin_so = functions(tree, module).filter(|name| name.starts_with(test));
        let begin_so: Vec<&str> = begin_so.collect();
        if !begin_so.contains(&test) {
            report(format!("there is no test `{name}` in `tests/*/`"));
        } else if let Some(other) = begin_so.iter().find(|other| **other != test) {
            report(format!("`--skip {name}` leaves out `{other}`, too"));
        }
    }
    findings
}

/// The functions of each `tests/*/module.rs`.
fn functions<'a>(tree: &'a [File], module: &str) -> impl Iterator<Item = &'a str> {
    let of_module = move |file: &&File| {
        let mut path = file.path.split('/');
        path.next() == Some("tests")
            && path.next().is_some()
            && path.next().and_then(|name| name.strip_suffix(".rs")) == Some(module)
            && path.next().is_none()
    };
    tree.iter()
        .filter(of_module)
        .flat_map(|file| &file.lines)
        .filter_map(|line| line.code.trim_start().strip_prefix("fn "))
        .filter_map(|rest| rest.split('(').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_test_or_a_reason_is_reported() {
        let tree = [
            File::new("tests/io/edges.rs", "#[test]\nfn short() {}\n"),
            File::new("tests/process/own.rs", "tests! {\n    fn long() {}\n}\n"),
            File::new(
                "tests/thread/edges.rs",
                "fn wide() {}\nfn wide_and_long() {}\n",
            ),
            File::new("src/edges.rs", "fn inside() {}\n"),
            File::new("tests/io/edges/deep.rs", "fn deep() {}\n"),
        ];
        let count = |list: &str| there(&File::new(".ci/wine", list), &tree).len();
        let good =
            "edges::short counts threads\nown::long the same\nedges::wide_and_long the same\n";
        assert_eq!(count(good), 0);
        for bad in [
            "edges::shor counts threads",
            "edges::shorts counts threads",
            "edge::short counts threads",
            "edges::wide counts threads",
            "own::short counts threads",
            "edges::inside counts threads",
            "deep::deep counts threads",
            "short counts threads",
            " edges::short counts threads",
            "edges::short",
            "edges::short ",
        ] {
            assert_eq!(count(bad), 1, "{bad}");
        }
        assert!(there(&File::new(".ci/long", "gone"), &tree).is_empty());
    }
}
