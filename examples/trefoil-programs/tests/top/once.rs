//! `--once` and `--json`.

use std::ffi::OsStr;

use serde_json::Value;

use crate::TOP;
use crate::support::{Ended, Running, Scratch};
use crate::until;
use crate::watched::Watched;

fn top(folder: &Scratch, arguments: &[&str]) -> Ended {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    Running::start(TOP, &arguments, &[("XDG_RUNTIME_DIR", &folder.0)]).end()
}

#[test]
fn a_report_has_tree_verdicts_and_failures() {
    let folder = Scratch::private("top-once");
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    let pid = watched.pid().to_string();
    let once = || {
        let report = top(&folder, &["--once", &pid]);
        assert_eq!((report.code, report.err.as_str()), (Some(0), ""));
        report.out
    };
    // (Failures, and what is stuck, are reported a moment later.)
    let report = until(once, |report| {
        report.contains("failures: 1") && report.contains("stuck: 1")
    });
    for text in [
        "squares: 1 of 2 workers busy",
        "map on threads: 3 of 4 items",
        "├─ #",
        "`sleepy` (promise at examples/trefoil-programs/tests/top/watched.rs",
        ": item 0, for ",
        "== stuck: 1\n",
        "a deadlock: 2 tasks wait for one another",
        "`one`",
        "== failures: 1\n",
        "boom \u{fffd}[31m <b>",
        "== slow polls: 1\n",
        "greedy",
    ] {
        assert!(report.contains(text), "{text}: {report}");
    }
    let is_command = |char: char| char.is_control() && char != '\n';
    assert!(!report.contains(is_command), "{report}");

    let report = top(&folder, &[&pid, "--json"]);
    assert_eq!((report.code, report.err.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_str(&report.out).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["pid"], watched.pid());
    assert_eq!(json["tree"]["version"], 1);
    let tasks = json["tree"]["tasks"].as_array().unwrap();
    let fruit = |task: &&Value| task["name"] == "fruit \u{1b}[2J";
    let fruit = tasks.iter().find(fruit).expect("names are as they are");
    assert_eq!(fruit["state"], "waiting");
    assert_eq!(json["snapshot"]["executors"][1]["name"], "squares");
    assert_eq!(json["notes"]["failures"]["total"], 1);
    assert_eq!(json["notes"]["stuck"]["total"], 1);
    watched.end();
}

#[test]
fn a_screen_needs_a_terminal() {
    let folder = Scratch::private("top-pipe");
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    let ended = top(&folder, &[&watched.pid().to_string()]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("this is not a terminal"),
        "{}",
        ended.err
    );
}

#[test]
fn without_a_process_those_that_listen_are_named() {
    let folder = Scratch::private("top-list");
    let watched = Watched::start(&folder.0, &[("TREFOIL_TOP", "1")]);
    let ended = top(&folder, &[]);
    assert_eq!(ended.code, Some(2));
    let (list, pid) = (&ended.err, watched.pid().to_string());
    assert!(
        list.contains("These listen: ") && list.contains(&pid),
        "{list}"
    );
    for wrong in [&["--twice", "1"][..], &["1", "2"], &["-1"]] {
        assert_eq!(top(&folder, wrong).code, Some(2), "{wrong:?}");
    }
    assert!(
        top(&folder, &["--help"])
            .out
            .starts_with("usage: trefoil-top PID")
    );
}
