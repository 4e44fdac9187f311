//! Where a file is tested: its head names test functions that exist.
//!
//! The head is what a file says before its first line of code. A paragraph of it may have `Tests:`,
//! and after that, in backticks, `PATH::function`, `PATH::{one, another}`, or just `PATH` if that
//! file is short. A folder, or a file of more than [`LONG`] lines, leads nowhere.

use std::path::Path;

use crate::rooms::expanded;
use crate::source::{File, Finding};

/// So many lines a test file may have to be named as a whole.
const LONG: usize = 1000;

/// Other words for `Tests:`.
const OTHERS: [&str; 3] = ["Checked by ", "Checked below", "Tested by "];

pub(crate) fn tests(file: &File, tree: &[File]) -> Vec<Finding> {
    let is_library = file.path.starts_with("src/")
        || file.path.starts_with("crates/") && file.path.contains("/src/");
    if !is_library || !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut report = |at, what| findings.push(Finding::new(file, at, "head", what));
    for (at, text) in paragraphs(file) {
        if let Some(word) = OTHERS.iter().find(|word| text.contains(*word)) {
            report(at, format!("write `Tests:` for `{}`", word.trim_end()));
        }
        let Some((_, named)) = text.split_once("Tests:") else {
            continue;
        };
        for span in named.split('`').skip(1).step_by(2) {
            for what in wrong(file, span, tree) {
                report(at, what);
            }
        }
    }
    findings
}

/// The paragraphs of the head, each with its first line, and as one line of text.
fn paragraphs(file: &File) -> Vec<(usize, String)> {
    let (mut all, mut last): (Vec<(usize, String)>, _) = (Vec::new(), "");
    for (at, line) in file.lines.iter().enumerate() {
        if line.has_code() && !line.code.starts_with("#![") {
            break;
        }
        let (mark, text) = match line.essay() {
            Some(text) => ("//!", text),
            None => ("//", line.comment.trim_start_matches('/').trim()),
        };
        let mark = if text.is_empty() { "" } else { mark };
        match all.last_mut() {
            Some((_, before)) if mark == last && !mark.is_empty() => {
                before.push(' ');
                before.push_str(text);
            }
            _ if !mark.is_empty() => all.push((at, text.to_owned())),
            _ => {}
        }
        last = mark;
    }
    all
}

/// What is wrong with what a head has in backticks after `Tests:`.
fn wrong(file: &File, span: &str, tree: &[File]) -> Vec<String> {
    let (paths, functions) = match span.split_once("::") {
        Some((path, functions)) if path.ends_with(".rs") => (path, functions),
        _ => (span, ""),
    };
    let is_test = paths.starts_with("tests/") || paths.contains("/tests/");
    let mut wrongs = Vec::new();
    if functions.is_empty() && !is_test {
        return wrongs;
    }
    for path in expanded(paths) {
        let found = find(file, &path, tree);
        if functions.is_empty() {
            match found {
                Some(test) if test.lines.len() > LONG => wrongs.push(format!(
                    "`{path}` is long: name the functions, `{path}::function`"
                )),
                None if !path.ends_with(".rs") => {
                    wrongs.push(format!("`{path}` is a folder: name the functions"));
                }
                None if path.ends_with(".rs") => wrongs.push(format!("`{path}` does not exist")),
                _ => {}
            }
            continue;
        }
        let functions = functions.trim_matches(['{', '}']).split(',');
        for function in functions.map(str::trim) {
            if !found.is_some_and(|test| defines(test, function)) {
                wrongs.push(format!("`{path}` defines no `{function}`"));
            }
        }
    }
    wrongs
}

/// The file of that path. A member of the workspace may leave out the path of its own directory.
fn find<'a>(file: &File, path: &str, tree: &'a [File]) -> Option<&'a File> {
    let mut homes = Path::new(&file.path).ancestors().skip(1);
    homes.find_map(|home| {
        let wanted = home.join(path);
        tree.iter().find(|file| Path::new(&file.path) == wanted)
    })
}

fn defines(file: &File, function: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    file.lines.iter().any(|line| {
        let mut words = line.code.split(|c| !is_part(c));
        words.any(|word| word == "fn") && words.next() == Some(function)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &str, head: &str) -> usize {
        let tree = [
            File::new("tests/a/short.rs", "fn one() {}\n// fn two() {}"),
            File::new("tests/a/long.rs", &"fn two() {}\n".repeat(LONG + 1)),
            File::new("crates/b/tests/c.rs", "    fn three() {}"),
        ];
        tests(&File::new(path, head), &tree).len()
    }

    #[test]
    fn a_head_names_functions_that_exist() {
        let head = |text: &str| said("src/x.rs", &format!("//! X.\n//!\n//! {text}\nuse a;"));
        assert_eq!(head("Tests: below; `tests/a/short.rs`, `x::y`, Miri."), 0);
        assert_eq!(head("Tests: `tests/a/short.rs::one`, with `--cfg a`."), 0);
        assert_eq!(head("Tests: `tests/a/long.rs::two`."), 0);
        assert_eq!(head("Tests: `tests/a/long.rs::{two,\n//! two}`."), 0);
        assert_eq!(head("Tests: `tests/a/short.rs::two`."), 1);
        assert_eq!(head("Tests: `tests/a/short.rs::on*`."), 1);
        assert_eq!(head("Tests: `tests/a/long.rs::{two, one,\n//! on}`."), 2);
        assert_eq!(head("Tests: `tests/a/gone.rs::one`."), 1);
        assert_eq!(head("Tests: `src/gone.rs::one`."), 1);
        assert_eq!(head("Tests: `tests/a/{short,gone}.rs`."), 1);
        assert_eq!(head("Tests: `crates/b/tests/c.rs::three`."), 0);
        assert_eq!(
            said("crates/b/src/x.rs", "//! Tests: `tests/c.rs::three`."),
            0
        );
    }

    #[test]
    fn folders_and_long_files_lead_nowhere() {
        let head = |text: &str| said("src/x.rs", &format!("//! X.\n\n// Y. {text}\nmod a;"));
        assert_eq!(head("Tests: `tests/a/`."), 1);
        assert_eq!(head("Tests: `crates/b/tests/`, below."), 1);
        assert_eq!(head("Tests: `tests/a/long.rs` (names)."), 1);
        assert_eq!(head("Tests: `tests/a/{short,long}.rs`."), 1);
        assert_eq!(
            head("`tests/a/` and `tests/a/long.rs` have\n//\n// Tests: below."),
            0
        );
        assert_eq!(head("What is.\nmod b;\n// Tests: `tests/a/`."), 0);
        assert_eq!(said("tests/x.rs", "//! Tests: `tests/a/`."), 0);
    }

    #[test]
    fn there_is_one_word_for_it() {
        assert_eq!(said("src/x.rs", "//! X. Checked by `tests/a/short.rs`."), 1);
        assert_eq!(said("src/x.rs", "//! Checked below."), 1);
        assert_eq!(said("src/x.rs", "//! A table is checked by a thread."), 0);
    }
}
