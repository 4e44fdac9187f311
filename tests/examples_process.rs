//! The examples of processes: run as they are, within a deadline, and what they print is looked
//! at, line by line; `*` stands for what differs. `cargo test` and `cargo nextest run` build the examples before this
//! program; who asks for this one alone builds them first (`cargo build --examples`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod deadline;

use std::path::Path;
use std::process::{Command, Stdio};

use deadline::within_deadline;

/// What the example prints.
fn run(name: &'static str) -> String {
    within_deadline(move || {
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().and_then(Path::parent).unwrap();
        let program = profile.join("examples").join(name);
        let output = Command::new(&program).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| {
            panic!("{}: {error}: cargo build --examples", program.display())
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{out}{err}", output.status);
        assert_eq!(err, "", "on standard error");
        out
    })
}

/// `*` stands for any text.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        open = part.is_empty();
    }
    open || rest.is_empty()
}

#[track_caller]
fn shows(name: &'static str, expected: &str) {
    let out = run(name);
    let fit = expected
        .lines()
        .zip(out.lines())
        .all(|(pattern, line)| fits(pattern, line));
    let same = fit && expected.lines().count() == out.lines().count();
    assert!(same, "{name} prints\n{out}\nand not\n{expected}");
}

#[test]
fn square_map() {
    let expected = "\
12 squared is 144
[1, 4, 9, 16, 25, 36, 49, 64, 81, 100]
from a million on: [1000000, 1002001, 1004004]
4 workers, none of them this process
";
    shows("square_map", expected);
}

#[test]
fn big_arrays() {
    let expected = "\
2000000 numbers came back, 1999999 first
sum of 4000000 squares: *
their last digits: [*]
";
    shows("big_arrays", expected);
}

#[test]
fn process_monitor() {
    let expected = "\
name        pid  alive  threads  memory
idler    *  yes          2    * MB
crowd    *  yes          6    * MB
hoarder  *  yes          2   * MB
of * processes these are ours: [\"crowd\", \"hoarder\", \"idler\"]
name        pid  alive  threads  memory
idler    *  yes          2    * MB
crowd    *  yes          6    * MB
hoarder  *  no           0    0 MB
idler: rested
crowd: four of us
hoarder: signal Some(15)
";
    shows("process_monitor", expected);
}

#[test]
fn patterns_fit_what_they_should() {
    assert!(fits("a*c", "abc") && fits("a*", "a") && fits("*", "") && fits("a", "a"));
    assert!(!fits("a*c", "abd") && !fits("a", "ab") && !fits("b*", "ab") && !fits("a*c", "acd"));
}
