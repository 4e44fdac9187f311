//! The rules of this repository, checked by a program.
//!
//! A rule that nothing checks is soon broken, so every rule of `CONTRIBUTING.md` that a program can
//! check is checked here: which module may import which, where `unsafe` may live and what it must
//! say, that every file opens with an essay, that every rule a comment cites is written down
//! somewhere, that every path a document names exists.
//!
//! 1. `source.rs` reads a Rust file into lines of code and lines of comment.
//! 2. `layers.rs`, `circles.rs`, `danger.rs`, `inventory.rs`, `words.rs`, `conformance.rs`,
//!    `platforms.rs`, `hooks.rs`, `rooms.rs`, `heads.rs`, `skipped.rs`, `statics.rs`,
//!    `examples.rs`, `book.rs` and `pages.rs` hold the rules. Each is a function from one file
//!    (and, where it needs more, the whole tree) to a list of findings. It does no input or output.
//! 3. This file walks the checkout once and applies them all.
//!
//! Each rule has tests beside it that give it bad samples and demand that it reports them: a rule
//! that cannot fail checks nothing.

mod book;
mod circles;
mod conformance;
mod danger;
mod examples;
mod heads;
mod hooks;
mod inventory;
mod layers;
mod pages;
mod platforms;
mod rooms;
mod skipped;
mod source;
mod statics;
mod words;

use source::{File, Finding};
use std::fs;
use std::path::Path;

/// What is checked: everything that is written by hand and committed.
const ROOTS: [&str; 8] = [
    "src", "tests", "crates", "benches", "examples", "docs", ".ci", ".config",
];

/// Reads every file of the checkout that a rule is about.
fn tree() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for entry in fs::read_dir(top).expect("the checkout is readable") {
        let entry = entry.expect("the checkout is readable");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let file = entry.path().is_file() && name != ".git"; // in a worktree it is a file
        if file || ROOTS.contains(&name.as_str()) {
            walk(&entry.path(), &name, &mut paths);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            // (Of a picture, which is not text, only the path counts.)
            let text = fs::read_to_string(top.join(&path)).unwrap_or_default();
            File::new(&path, &text)
        })
        .collect()
}

fn walk(at: &Path, name: &str, paths: &mut Vec<String>) {
    if at.is_file() {
        paths.push(name.to_owned());
        return;
    }
    for entry in fs::read_dir(at).expect("the checkout is readable") {
        let entry = entry.expect("the checkout is readable");
        let child = entry.file_name().into_string().expect("names are UTF-8");
        if child != "target" {
            walk(&entry.path(), &format!("{name}/{child}"), paths);
        }
    }
}

/// Applies every rule to every file.
fn judge(tree: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(circles::circles(tree));
    findings.extend(inventory::current(tree));
    findings.extend(examples::examples(tree));
    findings.extend(pages::short(tree));
    let declared = danger::declarations(tree, &mut findings);
    for file in tree {
        findings.extend(layers::imports(file));
        findings.extend(layers::facade(file));
        findings.extend(platforms::confined(file));
        findings.extend(danger::confined(file));
        findings.extend(danger::explained(file));
        findings.extend(danger::door(file));
        findings.extend(danger::cited(file, &declared));
        findings.extend(statics::renewed(file));
        findings.extend(words::essay(file));
        findings.extend(words::paths(file, tree));
        findings.extend(words::width(file));
        findings.extend(words::forbidden(file));
        findings.extend(words::compiled(file));
        findings.extend(conformance::shown(file, tree));
        findings.extend(rooms::found(file, tree));
        findings.extend(heads::tests(file, tree));
        findings.extend(hooks::few(file, tree));
        findings.extend(skipped::there(file, tree));
        findings.extend(book::bound(file, tree));
        findings.extend(book::whole(file));
        findings.extend(book::pictured(file, tree));
        findings.extend(book::published(file, tree));
        findings.extend(book::anchored(file, tree));
        findings.extend(book::told(file, tree));
    }
    findings
}

#[test]
fn every_file_follows_the_rules() {
    let mut tree = tree();
    if std::env::var("TREFOIL_INVENTORY").is_ok_and(|how| how == "write") {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (path, page) = inventory::page(&tree);
        fs::write(top.join(path), &page).expect("it is in the checkout");
        tree.retain(|file| file.path != path);
        tree.push(File::new(path, &page));
    }
    let rust = tree.iter().filter(|file| file.is_rust()).count();
    assert!(
        rust > 10,
        "the walk found only {rust} Rust files: it looks in the wrong place"
    );
    let findings = judge(&tree);
    let report: String = findings.iter().map(|f| format!("{f}\n")).collect();
    assert!(
        findings.is_empty(),
        "{} findings:\n{report}",
        findings.len()
    );
}

/// `.github/workflows/ci.yml` runs each step of `.ci/run`.
#[test]
fn every_step_of_the_gate_has_a_job() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(top.join(path)).expect("it is in the checkout");
    let (gate, jobs) = (read(".ci/run"), read(".github/workflows/ci.yml"));
    let steps = gate.lines().filter_map(|line| line.strip_prefix("step "));
    let steps: Vec<&str> = steps.filter_map(|rest| rest.split(' ').next()).collect();
    assert!(steps.len() > 10, "{steps:?}");
    let run: Vec<&str> = jobs.split_whitespace().collect();
    let missing: Vec<_> = steps.iter().filter(|step| !run.contains(step)).collect();
    assert!(missing.is_empty(), "no job runs {missing:?}");
}

/// Every rule is applied: a tree that breaks each of them once gets a finding from each.
#[test]
fn every_rule_can_fail() {
    let bad = [
        ("src/lib.rs", "pub fn logic() {}".to_owned()),
        (
            "src/task/mod.rs",
            "//! - **T1** a\n//! - **T1** b\n//! - **P1** c".to_owned(),
        ),
        (
            "src/task/up.rs",
            "use crate::thread::ThreadPool;".to_owned(),
        ),
        ("src/task/system.rs", "#[cfg(unix)]".to_owned()),
        ("src/task/one.rs", "use super::two::Two;".to_owned()),
        ("src/task/two.rs", "use super::one::One;".to_owned()),
        (
            "src/task/place.rs",
            "// SAFETY: T1\nunsafe { f() }".to_owned(),
        ),
        (
            "src/task/raw.rs",
            "#![allow(unsafe_code)]\nunsafe { f() }\n// SAFETY: trust me\nunsafe { f() }\n// SAFETY: T77\nunsafe { f() }"
                .to_owned(),
        ),
        (
            "src/task/door.rs",
            "use std::sync::atomic::AtomicBool;".to_owned(),
        ),
        (
            "src/task/kept.rs",
            "static A: OnceLock<u32> = OnceLock::new();".to_owned(),
        ),
        (
            "src/task/head.rs",
            "//! A.\n//!\n//! Tests: `tests/`.".to_owned(),
        ),
        ("src/task/long.rs", "//! Prose.\n".repeat(31)),
        (
            "docs/A.md",
            concat!("see `src/gone.rs`\n```ignore\n```\nTO", "DO\n/ho", "me/me").to_owned(),
        ),
        (
            "tests/CONFORMANCE.md",
            "| case | shown by |\n|---|---|\n| a | `gone::gone` |".to_owned(),
        ),
        ("docs/WIDE.md", "wide ".repeat(21)),
        ("docs/images/new.svg", "<svg>".to_owned()),
        ("README.md", "word\n".repeat(751)),
        ("docs/GUIDE.md", "```rust\n# hidden();\n```".to_owned()),
        ("src/process/api/path.rs", "if settings.plain {}".to_owned()),
        ("src/task/env.rs", "var(\"TREFOIL_GONE\")".to_owned()),
        (".ci/wine", "gone::gone counts threads".to_owned()),
        (
            "src/sync/same.rs",
            "//! A.\n/// The same.\npub struct Same;".to_owned(),
        ),
    ];
    let tree: Vec<File> = bad
        .iter()
        .map(|(path, text)| File::new(path, text))
        .collect();
    let mut heard: Vec<&str> = judge(&tree).iter().map(|finding| finding.rule).collect();
    heard.sort_unstable();
    heard.dedup();
    let all = [
        "book",
        "circle",
        "conformance",
        "door",
        "essay",
        "example",
        "facade",
        "head",
        "hidden",
        "invariant-home",
        "invariant-missing",
        "invariant-twice",
        "layers",
        "leftover",
        "long",
        "machine",
        "page-old",
        "path",
        "picture",
        "platform",
        "skipped",
        "static",
        "summary",
        "uncompiled",
        "unsafe-place",
        "unsafe-silent",
        "unsafe-uncited",
        "variable",
        "width",
    ];
    assert_eq!(heard, all);
}
