//! What the documentation of public items must have.
//!
//! 1. Each type that a public function returns, and each item of `sync`, has an example on its own
//!    page; or that page says by which function it is returned, where the example is. Which types
//!    are returned, `tests/trefoil-checks/PUBLIC_API.txt` says. (Types that a macro of ours names
//!    are not seen.)
//! 2. Each public method of the main types ([`MAIN`]) has an example of its own; or its page says
//!    which item "has an example".
//! 3. A summary does not lean on its neighbour: in a list of items, and in a search, it is alone.

use crate::source::{File, Finding};
use std::collections::BTreeSet;

const SURFACE: &str = "tests/trefoil-checks/PUBLIC_API.txt";

/// The crates whose pages are in the library's documentation.
const PAGES: [&str; 3] = [
    "src/",
    "crates/trefoil-trace/src/live/",
    "crates/trefoil-trace/src/recording/",
];

/// The types whose methods people call every day.
const MAIN: [&str; 14] = [
    "Task",
    "TaskGroup",
    "TaskError",
    "CancelToken",
    "ThreadPool",
    "ThreadPoolBuilder",
    "Scope",
    "ProcessPool",
    "ProcessPoolBuilder",
    "ProcessCall",
    "Actor",
    "EventLoop",
    "EventLoopBuilder",
    "LoopHandle",
];

/// The type whose own methods begin at this line: that of an `impl` without a trait.
fn implemented(line: &str) -> Option<&str> {
    let mut rest = line.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.char_indices().find(|(at, letter)| {
            match letter {
                '<' => depth += 1,
                '>' if !rest[..*at].ends_with('-') => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        rest = &rest[end.0 + 1..];
    }
    if rest.contains(" for ") {
        return None;
    }
    rest.trim_start()
        .split(|letter: char| !letter.is_alphanumeric())
        .next()
}

/// Whether a line begins a public method.
fn is_method(line: &str) -> bool {
    let rest = line.strip_prefix("    pub ");
    rest.is_some_and(|rest| {
        ["fn ", "async fn ", "const fn "]
            .iter()
            .any(|word| rest.starts_with(word))
    })
}

/// The names of the types that public functions return.
fn returned(tree: &[File]) -> BTreeSet<&str> {
    let inside = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let files = tree.iter().filter(|file| file.path == SURFACE);
    let lines = files.flat_map(|file| &file.lines);
    let functions = lines.filter_map(|line| line.raw.strip_prefix("pub fn "));
    let results = functions.filter_map(|line| line.split(" where ").next()?.split_once(" -> "));
    let paths = results.flat_map(|(_, result)| result.split(|letter| !inside(letter)));
    paths
        .filter(|path| path.starts_with("trefoil::"))
        .filter_map(|path| path.rsplit("::").next())
        .collect()
}

/// The name of the type that a line declares, if it is public.
fn type_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("pub struct ");
    let rest = rest.or_else(|| line.strip_prefix("pub enum "))?;
    rest.split(|letter: char| !letter.is_alphanumeric()).next()
}

/// Whether one of the attributes above a line is this one.
fn has_attribute(file: &File, at: usize, attribute: &str) -> bool {
    let above = file.lines[..at]
        .iter()
        .rev()
        .map(|line| line.raw.trim_start());
    above
        .take_while(|line| line.starts_with("#["))
        .any(|line| line == attribute)
}

/// All rules, in all files.
pub(crate) fn examples(tree: &[File]) -> Vec<Finding> {
    let returned = returned(tree);
    let mut findings = Vec::new();
    for file in tree {
        let of_library = PAGES.iter().any(|page| file.path.starts_with(page));
        let of_package = file.path.starts_with("crates/") && file.path.contains("/src/");
        if !file.is_rust() || file.is_for_tests() || !(of_library || of_package) {
            continue;
        }
        let of_sync = file.path.starts_with("src/sync/");
        let mut docs: Vec<&str> = Vec::new();
        let mut of_type = None;
        for (at, line) in file.lines.iter().enumerate() {
            let text = line.raw.trim_start();
            if let Some(doc) = text.strip_prefix("///") {
                docs.push(doc.trim_start());
                continue;
            }
            if text.starts_with("#[") {
                continue;
            }
            let docs = std::mem::take(&mut docs);
            if line.raw.starts_with("impl") {
                of_type = implemented(&line.raw);
            }
            let is_public = text.starts_with("pub ") && !docs.is_empty();
            if is_public && docs[0].starts_with("The same") {
                let what = "this summary leans on its neighbour: say what the item does";
                findings.push(Finding::new(file, at, "summary", what));
            }
            let function = line.raw.starts_with("pub fn ") || line.raw.starts_with("pub async fn ");
            let wanted = match type_of(text) {
                Some(name) => of_sync || returned.contains(name),
                None => of_sync && function,
            };
            let has = |words: &str| docs.iter().any(|doc| doc.contains(words));
            if of_library && wanted && !has("```") && !has("Returned by") {
                let what = "its documentation has no example, and does not say where one is";
                findings.push(Finding::new(file, at, "example", what));
            }
            let is_hidden = has_attribute(file, at, "#[doc(hidden)]");
            let is_everyday = of_library && is_method(&line.raw) && !is_hidden;
            let is_everyday = is_everyday && of_type.is_some_and(|name| MAIN.contains(&name));
            if is_everyday && !has("```") && !has("has an example") {
                let what = "this method of a main type has no example";
                findings.push(Finding::new(file, at, "example", what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_an_example_is_reported() {
        let surface = "pub fn trefoil::a(u8) -> core::result::Result<trefoil::b::Made<T>, ()>\n\
                       pub fn trefoil::c(trefoil::Taken) -> u8 where u8: trefoil::Bound\n";
        let count = |path: &str, text: &str| {
            let tree = [File::new(SURFACE, surface), File::new(path, text)];
            examples(&tree).len()
        };
        let page = |docs: &str, item: &str| format!("{docs}\n#[derive(Debug)]\n{item}\n");
        let made = "pub struct Made<T>(T);";
        assert_eq!(count("src/a.rs", &page("/// A thing.", made)), 1);
        assert_eq!(count("src/a.rs", &page("/// A thing.\n/// ```", made)), 0);
        assert_eq!(count("src/a.rs", &page("/// Returned by [`a`].", made)), 0);
        assert_eq!(
            count("src/a.rs", &page("/// A thing.", "pub struct Taken;")),
            0
        );
        assert_eq!(count("src/a.rs", &page("/// A thing.", "struct Made;")), 0);
        assert_eq!(
            count("src/sync/a.rs", &page("/// A.", "pub enum Other {}")),
            1
        );
        assert_eq!(
            count("src/sync/a.rs", &page("/// A.", "pub fn make() {}")),
            1
        );
        assert_eq!(
            count("src/sync/a.rs", &page("/// A.", "    pub fn method() {}")),
            0
        );
    }

    #[test]
    fn a_method_without_an_example_is_reported() {
        let count = |path: &str, head: &str, docs: &str, item: &str| {
            let text = format!("{head} {{\n    {docs}\n    #[must_use]\n    {item}\n}}\n");
            examples(&[File::new(path, &text)]).len()
        };
        let (task, of_task) = ("impl<T: Into<u8>> Task<T>", "src/task/a.rs");
        assert_eq!(count(of_task, task, "/// Runs.", "pub fn run(self) {}"), 1);
        assert_eq!(count(of_task, task, "/// ```", "pub fn run(self) {}"), 0);
        assert_eq!(
            count(
                of_task,
                task,
                "/// [`b`], which has an example.",
                "pub fn run() {}"
            ),
            0
        );
        assert_eq!(
            count(of_task, task, "/// Runs.", "pub(crate) fn run(self) {}"),
            0
        );
        assert_eq!(
            count(
                of_task,
                "impl<T> Drop for Task<T>",
                "/// Runs.",
                "pub fn run() {}"
            ),
            0
        );
        assert_eq!(
            count(of_task, "impl Other", "/// Runs.", "pub fn run() {}"),
            0
        );
        assert_eq!(
            count("crates/a/src/b.rs", task, "/// Runs.", "pub fn run() {}"),
            0
        );
    }

    #[test]
    fn a_summary_that_leans_on_its_neighbour_is_reported() {
        let count = |path: &str, text: &str| examples(&[File::new(path, text)]).len();
        assert_eq!(
            count("crates/a/src/b.rs", "/// The same.\npub fn f() {}"),
            1
        );
        assert_eq!(
            count(
                "crates/a/src/b.rs",
                "/// It runs.\n/// The same.\npub fn f() {}"
            ),
            0
        );
        assert_eq!(count("crates/a/src/b.rs", "/// The same.\nfn f() {}"), 0);
        assert_eq!(count("tests/a.rs", "/// The same.\npub fn f() {}"), 0);
    }
}
