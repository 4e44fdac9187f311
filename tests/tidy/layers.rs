//! Which module may import which.
//!
//! The table below is the architecture: imports point down only, and the three
//! executors never import one another. It is checked on every path that starts
//! at the crate's root, whether in a `use` line or inline, and on chains of
//! `super` that climb out of their top-level module.

use crate::source::{File, Finding};

/// Every top-level module of the library, lowest first, with what it may import. (`loom`, `sys`,
/// `host` and `printable` are the crate `trefoil-os`;
/// from `event` to `recording` it is `trefoil-trace`.)
/// A module may always import itself; the façade may import them all.
const TABLE: [(&str, &[&str]); 34] = [
    ("debug", &[]),
    ("loom", &[]),
    ("sys", &["loom"]),
    ("host", &["loom", "sys"]),
    ("blocking_threads", &["loom", "sys"]),
    ("printable", &[]),
    ("event", &[]),
    ("json", &["printable"]),
    ("clock", &["sys"]),
    ("switch", &["sys"]),
    ("role", &["loom", "event"]),
    (
        "live",
        &[
            "loom",
            "sys",
            "clock",
            "event",
            "json",
            "printable",
            "role",
            "switch",
        ],
    ),
    (
        "trace_log",
        &[
            "loom",
            "sys",
            "clock",
            "event",
            "live",
            "printable",
            "role",
            "switch",
        ],
    ),
    (
        "recording",
        &["loom", "event", "json", "live", "printable", "trace_log"],
    ),
    ("events", &["sys"]),
    ("large", &[]),
    ("chaos", &["loom", "sys"]),
    ("parking", &["loom", "sys", "blocking_threads", "events"]),
    ("sync", &["loom", "large", "parking"]),
    ("timer", &["loom", "sys", "blocking_threads"]),
    ("reaper", &["loom", "sys", "timer"]),
    (
        "task",
        &[
            "loom",
            "sys",
            "printable",
            "blocking_threads",
            "events",
            "large",
            "parking",
            "timer",
        ],
    ),
    (
        "blocking_calls",
        &["loom", "sys", "blocking_threads", "events", "timer", "task"],
    ),
    (
        "thread",
        &[
            "loom",
            "sys",
            "blocking_threads",
            "chaos",
            "events",
            "large",
            "parking",
            "timer",
            "task",
        ],
    ),
    ("iter", &["loom", "task", "thread"]),
    ("prelude", &["iter"]),
    (
        "process",
        &[
            "loom",
            "sys",
            "blocking_threads",
            "chaos",
            "events",
            "parking",
            "sync",
            "timer",
            "reaper",
            "task",
        ],
    ),
    (
        "event_loop",
        &[
            "loom",
            "sys",
            "printable",
            "events",
            "large",
            "parking",
            "timer",
            "task",
        ],
    ),
    (
        "time",
        &["loom", "sys", "events", "timer", "task", "event_loop"],
    ),
    (
        "io",
        &[
            "loom",
            "sys",
            "events",
            "timer",
            "reaper",
            "task",
            "blocking_calls",
            "event_loop",
        ],
    ),
    (
        "executor",
        &[
            "loom", "sys", "events", "parking", "timer", "task", "thread", "process",
        ],
    ),
    ("inspect", &["task"]),
    ("trace", &[]),
    (
        "adapters",
        &["loom", "sys", "task", "event_loop", "time", "io"],
    ),
];

const FACADE: &str = "lib";

/// No import points up or sideways.
pub(crate) fn imports(file: &File) -> Vec<Finding> {
    let Some(area) = file.area().filter(|area| *area != FACADE && file.is_rust()) else {
        return Vec::new();
    };
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == area) else {
        let what = format!(
            "`{area}` has no row in the table of layers: give it one, and a place in the picture of docs/internals/ARCHITECTURE.md"
        );
        return vec![Finding::new(file, 0, "layers", what)];
    };
    let mut findings = Vec::new();
    for (line, target) in root_paths(file) {
        let known = TABLE.iter().any(|(name, _)| *name == target);
        if known && target != area && !allowed.contains(&target.as_str()) {
            findings.push(Finding::new(
                file,
                line,
                "layers",
                format!("`{area}` must not import `{target}`: imports point down only"),
            ));
        } else if !known {
            findings.push(Finding::new(
                file,
                line,
                "layers",
                format!("`crate::{target}` goes through the façade: name the module it lives in"),
            ));
        }
    }
    findings
}

/// The façade has names and no logic.
pub(crate) fn facade(file: &File) -> Vec<Finding> {
    if file.area() != Some(FACADE) {
        return Vec::new();
    }
    let functions = file
        .lines
        .iter()
        .enumerate()
        .filter(|(_, line)| words(&line.code).any(|word| word == "fn"));
    functions
        .map(|(at, _)| {
            Finding::new(
                file,
                at,
                "facade",
                "lib.rs is an essay and re-exports: move this function down",
            )
        })
        .collect()
}

/// The first name of every path that starts at the crate's root.
fn root_paths(file: &File) -> Vec<(usize, String)> {
    let inside = file.inside().unwrap_or(&file.path);
    let parts = inside.split('/').count();
    let depth = if inside.ends_with("/mod.rs") {
        parts - 1
    } else {
        parts
    };
    let (text, starts) = flat(file);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        // An exported macro lives at the root, whatever its module: there it calls itself.
        let is_macro =
            before == Some('$') && text[at + 7..].trim_start_matches(is_word).starts_with('!');
        if !before.is_some_and(is_word) && !is_macro {
            names(&text[at + 7..], &mut |offset, name| {
                found.push((row(&starts, at + 7 + offset), name.to_owned()));
            });
        }
    }
    for (at, _) in text.match_indices("super::") {
        let chained =
            text[..at].ends_with("super::") || text[..at].chars().next_back().is_some_and(is_word);
        if chained {
            continue;
        }
        let mut rest = &text[at..];
        let mut climbs = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, climbs) = (after, climbs + 1);
        }
        if climbs >= depth {
            let start = text.len() - rest.len();
            names(rest, &mut |offset, name| {
                // An inline module makes the file one level deeper, and `super` then
                // ends in the file itself: only the name of a layer tells.
                if TABLE.iter().any(|(layer, _)| *layer == name) {
                    found.push((row(&starts, start + offset), name.to_owned()));
                }
            });
        }
    }
    found
}

/// Calls `each` with the first name of a path, or of each path of a group.
fn names(path: &str, each: &mut dyn FnMut(usize, &str)) {
    let Some(group) = path.strip_prefix('{') else {
        let name = path.split(|c| !is_word(c)).next().unwrap_or_default();
        if !name.is_empty() {
            each(0, name);
        }
        return;
    };
    let mut depth = 0;
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && is_word(c) => {
                fresh = false;
                let name = group[at..]
                    .split(|c| !is_word(c))
                    .next()
                    .unwrap_or_default();
                each(at + 1, name);
            }
            _ => {}
        }
    }
}

/// The code of a file in one string, and where in it each line starts.
fn flat(file: &File) -> (String, Vec<usize>) {
    let mut text = String::new();
    let mut starts = Vec::new();
    for line in &file.lines {
        starts.push(text.len());
        text.push_str(&line.code);
        text.push('\n');
    }
    (text, starts)
}

fn row(starts: &[usize], at: usize) -> usize {
    starts.partition_point(|start| *start <= at) - 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words of a line of code.
pub(crate) fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(path: &str, text: &str) -> usize {
        imports(&File::new(path, text)).len()
    }

    #[test]
    fn an_upward_import_is_reported() {
        assert_eq!(
            reported("src/task/cell.rs", "use crate::thread::ThreadPool;"),
            1
        );
        assert_eq!(
            reported(
                "src/sync/parker.rs",
                "use crate::{loom::Arc, task::{Task, thread}};"
            ),
            1
        );
        assert_eq!(
            reported(
                "crates/trefoil-os/src/sys/unix/poll.rs",
                "fn f() { crate::task::wake() }"
            ),
            1
        );
        assert_eq!(
            reported("crates/trefoil-os/src/loom.rs", "use crate::sys;"),
            1
        );
        assert_eq!(
            reported("crates/trefoil-os/src/sys/a.rs", "use crate::host;"),
            1
        );
        assert_eq!(reported("src/alarm.rs", "use super::task::Task;"), 1);
        assert_eq!(
            reported("src/task/raw.rs", "use super::super::{io, timer};"),
            1
        );
        assert_eq!(
            reported(
                "src/task/raw.rs",
                "use crate::{\n    loom::Arc,\n    io::Read,\n};"
            ),
            1
        );
    }

    #[test]
    fn executors_never_import_one_another() {
        assert_eq!(
            reported("src/thread/pool.rs", "use crate::process::ProcessPool;"),
            1
        );
        assert_eq!(
            reported("src/process/api/pool.rs", "use crate::event_loop;"),
            1
        );
        assert_eq!(
            reported("src/event_loop/mod.rs", "use super::thread::ThreadPool;"),
            1
        );
        assert_eq!(
            reported("src/io/tcp.rs", "use crate::thread::ThreadPool;"),
            1
        );
    }

    #[test]
    fn the_facade_is_not_a_back_door() {
        assert_eq!(
            reported("src/thread/pool.rs", "use crate::{Task, task::TaskError};"),
            1
        );
        assert_eq!(facade(&File::new("src/lib.rs", "pub fn run() {}")).len(), 1);
        assert_eq!(
            facade(&File::new("src/lib.rs", "pub use event_loop::run; // fn")).len(),
            0
        );
    }

    #[test]
    fn a_module_without_a_row_is_reported() {
        assert_eq!(reported("src/utils.rs", "use std::io;"), 1);
    }

    #[test]
    fn imports_that_point_down_pass() {
        assert_eq!(
            reported("src/task/cell.rs", "use crate::loom::Arc; // crate::thread"),
            0
        );
        assert_eq!(
            reported(
                "src/thread/pool.rs",
                "use crate::{parking, task::{Task, process}};"
            ),
            0
        );
        assert_eq!(
            reported(
                "src/thread/pool.rs",
                "use super::worker; mod t { use super::*; }"
            ),
            0
        );
        assert_eq!(
            reported("src/lib.rs", "pub use crate::thread::ThreadPool;"),
            0
        );
    }
}
