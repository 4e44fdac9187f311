//! Where `unsafe` is allowed, and which invariant each `SAFETY:` comment must cite.
//!
//! A rule of safety is declared in the essay of its area, as `//! - **T3** ...`; a `SAFETY:`
//! comment cites it by that name. The letter is that of the area, so a reader knows where to look.
//! A citation of a rule that is not declared is a finding.

use crate::layers::words;
use crate::source::{File, Finding};
use std::collections::BTreeMap;

/// The letter of each area's invariants.
const LETTERS: [(char, &str); 16] = [
    ('Y', "sys"),
    ('H', "host"),
    ('S', "parking"),
    ('S', "sync"),
    ('T', "task"),
    ('P', "thread"),
    ('W', "process"),
    ('L', "event_loop"),
    ('I', "io"),
    ('Q', "iter"),
    ('D', "adapters"),
    ('C', "rayon-core"),
    ('E', "postcard-described"),
    ('J', "trefoil-cache"),
    ('K', "trefoil-capsules"),
    ('B', "trefoil-sandbox"),
];

pub(crate) const ATTRIBUTE: &str = "allow(unsafe_code)";

/// `unsafe` stays in `raw` files, and in `sys` and `host` of the crate `trefoil-os`. A test may
/// crash on purpose, or read a cell of loom; the library and the examples may not.
pub(crate) fn confined(file: &File) -> Vec<Finding> {
    let judged = file.invariants_home().is_some() || file.path.starts_with("examples/");
    if !file.is_rust() || !judged || may_be_unsafe(&file.path) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let spaceless: String = line.code.split_whitespace().collect();
        if is_unsafe(&line.code) || spaceless.contains(ATTRIBUTE) {
            findings.push(Finding::new(
                file,
                at,
                "unsafe-place",
                "`unsafe` lives in files or directories named raw*, in crates/trefoil-os/src/sys/ and in crates/trefoil-os/src/host/",
            ));
        }
    }
    findings
}

/// Every unsafe block and impl has a `SAFETY:` comment, above its statement or
/// on its line, that cites an invariant.
pub(crate) fn explained(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for at in 0..file.lines.len() {
        if !opens_block_or_impl(file, at) {
            continue;
        }
        match safety_comment(file, at) {
            None => findings.push(Finding::new(
                file,
                at,
                "unsafe-silent",
                "an unsafe block or impl needs a `// SAFETY:` comment",
            )),
            Some(text) if file.invariants_home().is_some() && citations(&text).is_empty() => {
                findings.push(Finding::new(
                    file,
                    at,
                    "unsafe-uncited",
                    "a `SAFETY:` comment cites the invariants that it rests on, by number",
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Atomics, cells and locks come through `crates/trefoil-os/src/loom.rs`, so that every protocol
/// can be modelled. An atomic on which no protocol depends (a counter, a hook) has the words `no
/// protocol` on its line or on the line above.
pub(crate) fn door(file: &File) -> Vec<Finding> {
    const ELSEWHERE: [&str; 4] = ["Mutex", "RwLock", "Condvar", "UnsafeCell"];
    if !file.is_rust() || file.area().is_none_or(|area| area == "loom") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let code: String = line.code.split_whitespace().collect();
        let atomics = code.contains("std::sync::atomic") && code.contains("Atomic");
        let locks = (code.contains("std::sync::") || code.contains("std::cell::"))
            && code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| ELSEWHERE.contains(&word));
        let excused = [Some(at), at.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|at| file.lines[at].comment.contains("no protocol"));
        if (atomics || locks) && !excused {
            findings.push(Finding::new(
                file,
                at,
                "door",
                "atomics, cells and locks come from crate::loom; one that no protocol depends on says `no protocol`",
            ));
        }
    }
    findings
}

/// The invariants that essays declare, each with the files that do so.
pub(crate) fn declarations(tree: &[File], findings: &mut Vec<Finding>) -> BTreeMap<String, String> {
    let mut declared: BTreeMap<String, String> = BTreeMap::new();
    for file in tree {
        let Some(area) = file.invariants_home() else {
            continue;
        };
        for (at, line) in file.lines.iter().enumerate() {
            let Some(name) = line.essay().and_then(declared_name) else {
                continue;
            };
            let is_home = LETTERS
                .iter()
                .any(|(letter, home)| name.starts_with(*letter) && *home == area);
            if !is_home {
                findings.push(Finding::new(
                    file,
                    at,
                    "invariant-home",
                    format!("{name} has the letter of another area than `{area}`"),
                ));
            }
            if let Some(first) = declared.insert(name.to_owned(), file.path.clone()) {
                findings.push(Finding::new(
                    file,
                    at,
                    "invariant-twice",
                    format!("{name} is declared in {first} already"),
                ));
            }
        }
    }
    declared
}

/// Every invariant that a `SAFETY:` comment cites is declared.
pub(crate) fn cited(file: &File, declared: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.invariants_home().is_none() {
        return findings;
    }
    let mut at = 0;
    while at < file.lines.len() {
        if !file.lines[at].comment.contains("SAFETY:") {
            at += 1;
            continue;
        }
        let first = at;
        let mut text = file.lines[at]
            .comment
            .split_once("SAFETY:")
            .map_or("", |(_, after)| after)
            .to_owned();
        at += 1;
        while at < file.lines.len()
            && is_plain_comment(file, at)
            && !file.lines[at].comment.contains("SAFETY:")
        {
            text.push(' ');
            text.push_str(&file.lines[at].comment);
            at += 1;
        }
        for name in citations(&text) {
            if !declared.contains_key(&name) {
                findings.push(Finding::new(
                    file,
                    first,
                    "invariant-missing",
                    format!("{name} is cited, but no essay declares `- **{name}** ...`"),
                ));
            }
        }
    }
    findings
}

fn may_be_unsafe(path: &str) -> bool {
    path.starts_with("crates/trefoil-os/src/sys/")
        || path.starts_with("crates/trefoil-os/src/host/")
        || path.split('/').any(|part| part.starts_with("raw"))
}

fn is_unsafe(code: &str) -> bool {
    words(code).any(|word| word == "unsafe")
}

/// Is there an `unsafe {` or `unsafe impl` on this line (its brace perhaps on the next)?
fn opens_block_or_impl(file: &File, at: usize) -> bool {
    let code = &file.lines[at].code;
    code.match_indices("unsafe").any(|(start, word)| {
        let alone = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let mut after = code[start + word.len()..].trim_start();
        if after.is_empty() {
            after = file
                .lines
                .get(at + 1)
                .map_or("", |line| line.code.trim_start());
        }
        alone && (after.starts_with('{') || after.starts_with("impl"))
    })
}

fn is_plain_comment(file: &File, at: usize) -> bool {
    let line = &file.lines[at];
    !line.has_code() && line.comment.starts_with("//") && line.essay().is_none()
}

/// The text after `SAFETY:` for the unsafe code on line `at`: on the line
/// itself, or in the comment above the statement that it belongs to.
fn safety_comment(file: &File, at: usize) -> Option<String> {
    let mut text = String::new();
    let mut row = at;
    loop {
        let line = &file.lines[row];
        text = format!("{} {text}", line.comment);
        if let Some((_, after)) = text.split_once("SAFETY:") {
            return Some(after.to_owned());
        }
        row = row.checked_sub(1)?;
        let above = &file.lines[row];
        let code = above.code.trim_end();
        let ends = code.ends_with([';', '}', '{']) && !code.trim_start().starts_with('#');
        let blank = !above.has_code() && above.comment.is_empty();
        if ends || blank {
            return None;
        }
    }
}

/// `T3` for an essay line `- **T3** a waker is ...`.
fn declared_name(essay: &str) -> Option<&str> {
    let (name, _) = essay.strip_prefix("- **")?.split_once("**")?;
    let name = name.trim_end_matches(['.', ':']);
    is_name(name).then_some(name)
}

fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let letter = chars
        .next()
        .is_some_and(|first| LETTERS.iter().any(|(letter, _)| *letter == first));
    let digits = chars.as_str();
    letter && !digits.is_empty() && digits.len() <= 2 && digits.chars().all(|c| c.is_ascii_digit())
}

pub(crate) fn citations(text: &str) -> Vec<String> {
    words(text)
        .filter(|word| is_name(word))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// SAFETY: T1: the cell is ours\nlet x = unsafe { read(p) };";

    fn file(path: &str, text: &str) -> File {
        File::new(path, text)
    }

    #[test]
    fn unsafe_outside_its_places_is_reported() {
        assert_eq!(confined(&file("src/task/cell.rs", GOOD)).len(), 1);
        assert_eq!(
            confined(&file("examples/x.rs", "unsafe impl Send for X {}")).len(),
            1
        );
        assert_eq!(
            confined(&file("src/task/cell.rs", "#![allow(unsafe_code)]")).len(),
            1
        );
        for place in [
            "src/task/raw.rs",
            "src/task/raw/cell.rs",
            "src/thread/raw_job.rs",
            "crates/trefoil-os/src/sys/map.rs",
        ] {
            assert_eq!(confined(&file(place, GOOD)).len(), 0, "{place}");
        }
        let innocent = "// unsafe { }\nlet a = \"unsafe {}\"; let unsafe_code = 1;";
        assert_eq!(confined(&file("src/task/cell.rs", innocent)).len(), 0);
    }

    #[test]
    fn silent_unsafe_is_reported() {
        let silent = [
            "fn f() {\n    unsafe { g() }\n}",
            "// SAFETY: T1\n\nlet x = unsafe { g() };",
            "// SAFETY: T1\nlet a = 1;\nlet x = unsafe { g() };",
            "// SAFETY: T1\nunsafe impl Send for A {}\nunsafe impl Sync for A {}",
            "/// Not a reason.\nunsafe\n{ g() }",
        ];
        for text in silent {
            assert_eq!(explained(&file("src/task/raw.rs", text)).len(), 1, "{text}");
        }
        let explained_ones = [
            GOOD,
            "// SAFETY: T1: and so\n// on\n#[inline]\nunsafe impl Send for A {}",
            "// SAFETY: T1\nlet x = f(\n    1,\n    unsafe { g() },\n);",
            "let x = unsafe { g() }; // SAFETY: T1",
            "unsafe fn f() {}\ntype F = unsafe fn();",
        ];
        for text in explained_ones {
            assert_eq!(explained(&file("src/task/raw.rs", text)).len(), 0, "{text}");
        }
    }

    #[test]
    fn a_way_round_the_door_is_reported() {
        let bad = [
            "use std::sync::atomic::{AtomicBool, Ordering};",
            "static N: std::sync::atomic::AtomicU32 = make();",
            "use std::sync::{Arc, Mutex};",
            "use std::cell::{Cell, UnsafeCell};",
        ];
        for text in bad {
            assert_eq!(door(&file("src/task/a.rs", text)).len(), 1, "{text}");
            assert_eq!(
                door(&file("crates/trefoil-os/src/loom.rs", text)).len(),
                0,
                "{text}"
            );
            assert_eq!(door(&file("tests/a.rs", text)).len(), 0, "{text}");
            let excused = format!("// A counter: no protocol.\n{text}");
            assert_eq!(door(&file("src/task/a.rs", &excused)).len(), 0, "{text}");
        }
        let good = [
            "use std::sync::atomic::Ordering;",
            "use crate::loom::{Arc, Mutex};",
            "use std::sync::{Arc, MutexGuard, OnceLock};",
            "// use std::sync::Mutex",
        ];
        for text in good {
            assert_eq!(door(&file("src/task/a.rs", text)).len(), 0, "{text}");
        }
    }

    #[test]
    fn a_reason_without_a_number_is_reported() {
        let text = "// SAFETY: it works\nlet x = unsafe { g() };";
        assert_eq!(explained(&file("src/task/raw.rs", text)).len(), 1);
        assert_eq!(
            explained(&file("tests/raw.rs", text)).len(),
            0,
            "tests have no essays of invariants"
        );
    }

    #[test]
    fn an_undeclared_rule_is_reported() {
        let tree = [file(
            "src/task/mod.rs",
            "//! - **T1** one consumer\n//! - **T2**: two",
        )];
        let mut findings = Vec::new();
        let declared = declarations(&tree, &mut findings);
        assert!(findings.is_empty());
        let cite = |text: &str| cited(&file("src/task/raw.rs", text), &declared).len();
        assert_eq!(cite(GOOD), 0);
        assert_eq!(cite("// SAFETY: T1 and T2: both; u8 and T are types"), 0);
        assert_eq!(cite("// SAFETY: T1, and by\n// T9 it is so"), 1);
        assert_eq!(cite("// SAFETY: P1, T7"), 2);
    }

    #[test]
    fn a_rule_at_the_wrong_door_or_declared_twice_is_reported() {
        let mut findings = Vec::new();
        declarations(
            &[file("src/task/mod.rs", "//! - **P1** a pool's rule")],
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
        findings.clear();
        declarations(
            &[
                file("src/task/mod.rs", "//! - **T1** a"),
                file("src/task/raw.rs", "//! - **T1** b"),
            ],
            &mut findings,
        );
        assert_eq!(findings.len(), 1);
    }
}
