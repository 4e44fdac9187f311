//! What shrinking gives, and when it ends.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use trefoil::ProcessPool;
use trefoil_capsules::{Budget, Capsule, KeepFailures, ProgressBar};
use trefoil_capsules::{capsule_of, groups, replayable, shrink};

use crate::support::{self, Test, tests, until};
use crate::{Kept, faults};

/// Before `init`.
pub(crate) fn names() {
    replayable("sometimes", sometimes);
    replayable("stubborn", stubborn);
    replayable("counts", counts);
    replayable("third", third);
    replayable("delivers", delivers);
    replayable("between", between);
    replayable("fails_before", fails_before);
}

fn third(row: Vec<u32>) -> u32 {
    row[2] // which a short row does not have
}

/// The types of `tests/pasted.rs`.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Parcel {
    label: String,
    code: Vec<u8>,
    way: Way,
    weight: Option<f32>,
    stops: BTreeMap<String, (i64, bool)>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Way {
    Air,
    Sea { days: u16 },
    Land(Box<Way>),
}

/// Fails for a parcel each part of which is needed for that.
fn delivers(parcels: Vec<Parcel>) {
    let is_far =
        |way: &Way| matches!(way, Way::Land(by) if matches!(**by, Way::Sea { days: 30.. }));
    for parcel in parcels {
        let stops = parcel.stops.get("Z\u{fc}rich\n");
        if parcel.label.contains('"')
            && parcel.code.contains(&255)
            && is_far(&parcel.way)
            && parcel.weight.is_some_and(f32::is_nan)
            && stops.is_some_and(|(at, is_last)| *at < -5 && *is_last)
        {
            exit(11)
        }
    }
}

fn between((number, text, letter): (i64, String, Option<char>)) {
    if number > 1_000 && text.ends_with('\\') && letter == Some('\'') {
        exit(12)
    }
}

/// The variable of a worker in which it is mended.
const MENDED: &str = "TREFOIL_TEST_MENDED";

fn fails_before(_: Vec<u8>) {
    if std::env::var_os(MENDED).is_none() {
        exit(13)
    }
}

/// Fails once in a while.
fn sometimes(text: String) {
    let dice = RandomState::new();
    if text.contains('!') && dice.hash_one(0).is_multiple_of(3) {
        exit(7)
    }
}

/// Nothing but itself can be read.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Proud(Vec<u8>);

impl<'de> serde::Deserialize<'de> for Proud {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let row = Vec::<u8>::deserialize(from)?;
        let refused = || serde::de::Error::custom("another");
        (row == [1, 2, 3]).then_some(Self(row)).ok_or_else(refused)
    }
}

fn stubborn(_: Proud) {
    exit(9)
}

/// Fails unless it is the first item of its process.
fn counts(all: Vec<u8>) {
    static BEFORE: AtomicBool = AtomicBool::new(false);
    let is_used = BEFORE.swap(true, Ordering::Relaxed);
    if is_used || all.contains(&9) {
        exit(5)
    }
}

/// This program, which makes the item in the file smaller.
fn shrinking(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("TREFOIL_SHRINK", path).stdin(Stdio::null());
    command
}

tests! {
    fn a_smaller_value_is_a_file_and_a_test() {
        let kept = Kept::new("small");
        let procs = kept.pool();
        let capsule = kept.capsule(&procs, vec![7, 8], third);
        let shrunk = shrink(&capsule, &procs, Budget::default()).unwrap();
        assert_eq!(shrunk.capsule.argument::<Vec<u32>>().unwrap(), []);
        assert_eq!(shrunk.value_text, "vec![]");
        assert!(shrunk.runs <= 10, "{shrunk}");
        for line in ["#[test]", "fn third_survives() {", "let argument = vec![];", "third(argument);"] {
            assert!(shrunk.test_text.contains(line), "{}", shrunk.test_text);
        }
        // It is a file as the original is, besides it, and of the same group.
        let again = Capsule::open(shrunk.capsule.path()).unwrap();
        assert_eq!(again.path().parent(), capsule.path().parent());
        assert!(again.path().to_str().unwrap().ends_with(".smallest.capsule"));
        assert_eq!(again.argument::<Vec<u32>>().unwrap(), []);
        assert_eq!(again.function(), Some("third"));
        let all = groups(&kept.0).unwrap();
        let [group] = &all[..] else { panic!("{all:?}") };
        assert_eq!((group.count(), group.files(), group.smallest()), (1, 1, again.path()));
        // There is nothing smaller than that.
        let last = shrink(&again, &procs, Budget::default()).unwrap();
        assert!(last.to_string().starts_with("no smaller value was found after 1 runs"), "{last}");
        assert_eq!(last.capsule.path(), again.path());
    }

    /// `tests/pasted.rs` has them, in a program of their own: so they compile.
    fn a_test_can_be_pasted() {
        let kept = Kept::new("pasted");
        let procs = kept.pool();
        let parcel = |n: u16| Parcel {
            label: format!("a \"fragile\" one, {n}"),
            code: vec![n as u8, 255, 7],
            way: Way::Land(Box::new(Way::Sea { days: 20 + n })),
            weight: Some(f32::NAN),
            stops: [("Basel".to_owned(), (7, false)), ("Z\u{fc}rich\n".to_owned(), (-70, true))].into(),
        };
        let parcels = kept.capsule(&procs, (0..20).map(parcel).collect(), delivers);
        let text = "back\\slash\\".to_owned();
        let all = [
            kept.capsule(&procs, vec![7, 8], third),
            kept.capsule(&procs, (5_000_000, text, Some('\'')), between),
            parcels,
        ];
        let pasted = include_str!("../pasted.rs");
        let mut others = String::new();
        for capsule in all {
            let shrunk = shrink(&capsule, &procs, Budget::default()).unwrap();
            let text = &shrunk.test_text;
            let test = &text[text.find("#[test]").unwrap()..];
            if !pasted.contains(test) {
                others.push_str(text);
            }
        }
        assert!(others.is_empty(), "{others}");
    }

    fn a_program_prints_the_test() {
        let kept = Kept::new("program");
        let procs = kept.pool();
        let capsule = kept.capsule(&procs, vec![7, 8], third);
        let output = shrinking(capsule.path()).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        let (out, err) = (out.unwrap(), err.unwrap());
        assert_eq!(output.status.code(), Some(0), "{err}");
        assert!(out.contains("#[test]\nfn third_survives() {\n"), "{out}");
        assert!(err.contains("0 of 2 parts are left"), "{err}");
        let smallest = capsule.path().with_extension("smallest.capsule");
        assert_eq!(Capsule::open(smallest).unwrap().argument::<Vec<u32>>().unwrap(), []);
        // What is no file of an item, or whose function is unknown.
        for (name, function, why) in [
            ("missing", "", "missing"),
            ("none", "", "holds no item"),
            ("", "nobody", "no function is called `nobody`"),
            ("", "sometimes", "takes `alloc::string::String`"),
        ] {
            fs::write(kept.0.join("none"), "something else").unwrap();
            let path = match name {
                "" => capsule.path().to_owned(),
                name => kept.0.join(name),
            };
            let output = shrinking(&path).env("TREFOIL_REPLAY_FN", function).output().unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{err}");
            assert!(err.contains("it cannot shrink") && err.contains(why), "{err}");
        }
    }

    fn the_best_so_far_is_there_when_the_whole_is_killed() {
        let kept = Kept::new("killed");
        let procs = kept.pool();
        let rows: Vec<String> = (0..3000).map(|n| format!("row {n}")).collect();
        let capsule = kept.capsule(&procs, rows, faults::slowly_finds_a_row);
        let mut child = shrinking(capsule.path()).stdout(Stdio::null()).spawn().unwrap();
        let best = capsule.path().with_extension("smallest.capsule");
        until(|| best.exists());
        support::kill(child.id());
        child.wait().unwrap();
        let row: Vec<String> = Capsule::open(&best).unwrap().argument().unwrap();
        assert!(row.len() < 3000 && row.iter().any(|row| row == "row 2222"), "{}", row.len());
    }

    fn an_item_that_fails_sometimes_is_tried_again() {
        let kept = Kept::new("sometimes");
        let procs = kept.pool();
        let error = loop {
            let text = "what happened here!? ".repeat(3);
            if let Err(error) = procs.spawn(text, sometimes).join() {
                break error;
            }
        };
        let capsule = Capsule::open(capsule_of(&error).unwrap()).unwrap();
        let shrunk = shrink(&capsule, &procs, Budget::new().repeat(20)).unwrap();
        assert_eq!(shrunk.capsule.argument::<String>().unwrap(), "!", "{shrunk}");
    }

    fn what_has_no_smaller_value_stays() {
        let kept = Kept::new("stubborn");
        let procs = kept.pool();
        let capsule = kept.capsule(&procs, Proud(vec![1, 2, 3]), stubborn);
        let shrunk = shrink(&capsule, &procs, Budget::default()).unwrap();
        assert_eq!(shrunk.to_string(), "no smaller value was found after 1 runs");
        assert!(shrunk.test_text.contains("no smaller value was found after 1 runs"));
        assert_eq!(shrunk.capsule.argument::<Proud>().unwrap(), Proud(vec![1, 2, 3]));
        // One that does not fail any more, or fails otherwise.
        let capsule = kept.capsule(&procs, vec![1], third);
        let capsule = Capsule::open(capsule.path()).unwrap();
        fs::rename(capsule.path(), kept.0.join("other.capsule")).unwrap();
        let path = kept.0.join("other.capsule");
        let output = shrinking(&path).env("TREFOIL_REPLAY_FN", "mended").output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{err}");
        assert!(err.contains("returns a value now"), "{err}");
        let output = shrinking(&path).env("TREFOIL_REPLAY_FN", "elsewhere").output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.contains("it ends otherwise now: panicked at"), "{err}");
    }

    /// Also in a pool that would use its workers again.
    fn each_candidate_has_a_worker_of_its_own() {
        let kept = Kept::new("own");
        let builder = ProcessPool::builder().workers(2).keep_failures(&kept.0);
        let procs = builder.build().unwrap();
        let capsule = loop {
            // (In a fresh worker.)
            let error = procs.spawn((0..50).collect(), counts).join().unwrap_err();
            let capsule = Capsule::open(capsule_of(&error).unwrap()).unwrap();
            if capsule.argument::<Vec<u8>>().unwrap().contains(&9) {
                break capsule;
            }
        };
        let shrunk = shrink(&capsule, &procs, Budget::default()).unwrap();
        assert_eq!(shrunk.capsule.argument::<Vec<u8>>().unwrap(), [9], "{shrunk}");
        assert_eq!(procs.spawn(6, |n: u32| n * 7).join().unwrap(), 42);
    }

    fn a_budget_is_kept() {
        let kept = Kept::new("budget");
        let procs = kept.pool();
        let rows: Vec<String> = (0..3000).map(|n| format!("row {n}")).collect();
        let capsule = kept.capsule(&procs, rows, faults::slowly_finds_a_row);
        let shrunk = shrink(&capsule, &procs, Budget::default().runs(7)).unwrap();
        assert!(shrunk.runs <= 7, "{shrunk}");
        let row: Vec<String> = shrunk.capsule.argument().unwrap();
        assert!(row.len() < 3000 && row.len() > 1, "{shrunk}");
        let none = shrink(&capsule, &procs, Budget::default().time(Duration::ZERO)).unwrap();
        assert!(none.to_string().starts_with("no smaller value"), "{none}");
        procs.kill();
        let ended = shrink(&capsule, &procs, Budget::default());
        assert!(ended.is_err());
    }

    /// Also by one that does not fail any more, or takes longer than all of it.
    fn a_budget_is_kept_from_the_first_run_on() {
        let kept = Kept::new("runs");
        let procs = kept.pool();
        let capsule = kept.capsule(&procs, vec![1, 2], fails_before);
        let mended = ProcessPool::builder().workers(2).max_tasks_per_worker(1).env(MENDED, "yes");
        let mended = mended.build().unwrap();
        let budget = Budget::new().runs(20).repeat(u32::MAX);
        let error = shrink(&capsule, &mended, budget).unwrap_err().to_string();
        assert!(error.contains("returns a value now"), "{error}");
        let runs = mended.stats().completed;
        assert!((20..=25).contains(&runs), "{runs} (it asks for five process ids)");
        let limit = Duration::from_millis(50);
        let call = procs.call(|_: Vec<u8>| support::forever::<()>()).name("fails_before");
        let late = call.timeout(limit).spawn(vec![1]).join().unwrap_err();
        let late = Capsule::open(capsule_of(&late).unwrap()).unwrap();
        let error = shrink(&late, &procs, Budget::new().time(limit / 2)).unwrap_err();
        assert!(error.to_string().contains("time limit, 50ms, is longer"), "{error}");
        let more = Budget::new().repeat(u32::MAX).runs(3);
        assert!(shrink(&late, &procs, more).unwrap_err().to_string().contains("ends otherwise now"));
    }

    /// It shows the runs, and what is left.
    fn a_bar_shows_how_far_it_is() {
        let kept = Kept::new("bar");
        let procs = kept.pool();
        let rows: Vec<String> = (0..3000).map(|n| format!("row {n}")).collect();
        let capsule = kept.capsule(&procs, rows, faults::slowly_finds_a_row);
        let bar = ProgressBar::hidden();
        let seen = std::thread::scope(|scope| {
            let budget = Budget::new().runs(40).with_bar(bar.clone());
            let shrinks = scope.spawn(|| shrink(&capsule, &procs, budget).unwrap());
            let mut seen = Vec::new();
            while !shrinks.is_finished() {
                let (now, left) = (bar.position(), bar.message());
                if !bar.is_finished() && seen.last() != Some(&(now, left.clone())) {
                    seen.push((now, left));
                }
                std::thread::yield_now();
            }
            shrinks.join().unwrap();
            seen
        });
        assert_eq!((bar.length(), bar.is_finished()), (Some(40), true));
        assert!(seen.is_sorted_by_key(|(runs, _)| *runs), "{seen:?}");
        let left = |(_, left): &&(u64, String)| left.ends_with(" parts");
        assert!(seen.len() > 3 && seen.iter().find(left).is_some(), "{seen:?}");
    }
}
