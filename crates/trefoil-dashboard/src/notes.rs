//! What was reported: failures, slow polls, deadlocks. The newest of each are kept, and all are
//! counted. Failures of one cause are one note.

use std::collections::VecDeque;
use std::mem::{Discriminant, discriminant};

use parking_lot::Mutex;
use serde::Serialize;
use trefoil::inspect::Stuck;
use trefoil::process::{Backtrace, Frame};
use trefoil::{SlowPoll, TaskError, TaskReport};

use crate::snapshot::unix_ms;

/// How many notes of a kind are kept.
const KEPT: usize = 100;
/// How many of the innermost frames count, if it is not known which of them is the user's.
const INNERMOST: usize = 4;
/// How many bytes of a text are kept.
const TEXT: usize = 2048;

/// The notes, behind a lock that is held for the time of a copy.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Lists>);

#[derive(Debug, Default, Serialize)]
struct Lists {
    /// How many notes there have been: whoever has seen this number has seen all.
    seen: u64,
    failures: List<Failure>,
    slow_polls: List<Slow>,
    stuck: List<StuckView>,
}

#[derive(Debug, Serialize)]
struct List<T> {
    total: u64,
    /// The newest last.
    kept: VecDeque<T>,
}

/// Failures of one cause. Its number, the first time and the last are those of all; the rest is
/// that of the last.
#[derive(Debug, Serialize)]
struct Failure {
    #[serde(skip)]
    cause: Cause,
    count: u64,
    first_ms: u64,
    time_ms: u64,
    task: String,
    name: Option<String>,
    site: String,
    error: String,
    item: Option<usize>,
    /// Of a worker process that died.
    pid: Option<u32>,
    attempts: Option<u32>,
    last_words: Option<String>,
    backtrace: Option<String>,
}

/// What failures of one row have in common: where the task was spawned, and how it ended. (Not its
/// name, which may be another one for each item.)
#[derive(Debug, PartialEq)]
struct Cause {
    site: String,
    kind: Discriminant<TaskError>,
    /// The place of a panic, or of a death: the innermost frame that is the user's; where that is
    /// not known, the innermost ones.
    place: Option<String>,
    signal: Option<i32>,
    code: Option<i32>,
    out_of_memory: bool,
}

impl Cause {
    fn of(report: &TaskReport) -> Self {
        let error = report.error();
        let mut cause = Self {
            site: report.spawned_at().to_string(),
            kind: discriminant(error),
            place: None,
            signal: None,
            code: None,
            out_of_memory: false,
        };
        match error {
            TaskError::Panicked(panic) => {
                cause.place = panic.location().map(ToString::to_string);
            }
            TaskError::WorkerDied(exit) => {
                (cause.signal, cause.code) = (exit.signal(), exit.code());
                cause.out_of_memory = exit.out_of_memory();
                let place = |frame: &Frame| {
                    let module = frame.module().unwrap_or("?");
                    format!("{module}+{:#x}", frame.offset())
                };
                cause.place = exit.backtrace().map(|backtrace| match backtrace.culprit() {
                    Some(frame) => place(frame),
                    None => {
                        let frames = backtrace.frames().iter().take(INNERMOST);
                        frames.map(place).collect::<Vec<_>>().join(" ")
                    }
                });
            }
            TaskError::Codec(error) => cause.place = Some(error.type_name().to_owned()),
            _ => {}
        }
        cause
    }
}

#[derive(Debug, Serialize)]
struct Slow {
    time_ms: u64,
    task: String,
    name: Option<String>,
    site: String,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
struct StuckView {
    time_ms: u64,
    /// The report.
    text: String,
    /// The names of the tasks, or else their sites.
    tasks: Vec<String>,
}

/// How many tasks of a deadlock are named.
const STUCK: usize = 20;

impl Notes {
    pub(crate) fn failure(&self, report: &TaskReport) {
        let error = report.error();
        let exit = match error {
            TaskError::WorkerDied(exit) => Some(exit),
            _ => None,
        };
        let last_words = exit.map(|exit| exit.stderr_tail());
        let backtrace = exit.and_then(|exit| exit.backtrace());
        let now = unix_ms();
        let failure = Failure {
            cause: Cause::of(report),
            count: 1,
            first_ms: now,
            time_ms: now,
            task: report.id().to_string(),
            name: report.name().map(clip),
            site: report.spawned_at().to_string(),
            error: clip(&error.to_string()),
            item: error.item(),
            pid: exit.map(|exit| exit.pid()),
            attempts: exit.map(|exit| exit.attempts()),
            last_words: last_words.filter(|words| !words.is_empty()).map(clip),
            backtrace: backtrace.map(shown),
        };
        let mut lists = self.0.lock();
        lists.seen += 1;
        lists.failures.push_among(failure);
    }

    pub(crate) fn slow_poll(&self, slow: &SlowPoll) {
        let slow = Slow {
            time_ms: unix_ms(),
            task: slow.task.id.to_string(),
            name: slow.task.name.as_deref().map(clip),
            site: slow.task.spawned_at.to_string(),
            elapsed_ms: slow.elapsed.as_millis() as u64,
        };
        let mut lists = self.0.lock();
        lists.seen += 1;
        lists.slow_polls.push(slow);
    }

    pub(crate) fn stuck(&self, stuck: &Stuck) {
        let tasks = stuck.tasks().iter().take(STUCK);
        let tasks = tasks.map(|task| match &task.name {
            Some(name) => clip(name),
            None => task.spawned_at.to_string(),
        });
        let view = StuckView {
            time_ms: unix_ms(),
            text: clip(&stuck.to_string()),
            tasks: tasks.collect(),
        };
        let mut lists = self.0.lock();
        lists.seen += 1;
        lists.stuck.push(view);
    }

    /// How many failures, slow polls and deadlocks there have been.
    pub(crate) fn totals(&self) -> [u64; 3] {
        let lists = self.0.lock();
        [
            lists.failures.total,
            lists.slow_polls.total,
            lists.stuck.total,
        ]
    }

    /// How many there have been, and all that are kept, as JSON.
    pub(crate) fn to_json(&self) -> (u64, String) {
        let lists = self.0.lock();
        let json = serde_json::to_string(&*lists).expect("texts and numbers have a form in JSON");
        (lists.seen, json)
    }

    /// How many there have been.
    pub(crate) fn seen(&self) -> u64 {
        self.0.lock().seen
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            total: 0,
            kept: VecDeque::new(),
        }
    }
}

impl<T> List<T> {
    fn push(&mut self, note: T) {
        self.total += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(note);
    }
}

impl List<Failure> {
    /// The note joins those of its cause, if there are any.
    fn push_among(&mut self, mut failure: Failure) {
        let of_its_cause = |kept: &Failure| kept.cause == failure.cause;
        if let Some(at) = self.kept.iter().position(of_its_cause)
            && let Some(before) = self.kept.remove(at)
        {
            failure.count += before.count;
            failure.first_ms = before.first_ms;
        }
        self.push(failure);
    }
}

/// The frames, and the builds of their modules: whatever is cut off of the first.
fn shown(backtrace: &Backtrace) -> String {
    let (frames, all) = (backtrace.to_string(), format!("{backtrace:#}"));
    let builds = all.strip_prefix(&frames).unwrap_or_default();
    clip(&frames) + &clip(builds)
}

/// The text, or its beginning.
pub(crate) fn clip(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    let end = (0..=TEXT).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut list = List::default();
        for n in 0..1000 {
            list.push(n);
        }
        assert_eq!((list.total, list.kept.len()), (1000, KEPT));
        assert_eq!(list.kept.back(), Some(&999));
    }

    #[test]
    fn long_texts_are_clipped_between_characters() {
        let long = format!("a{}", "ü".repeat(TEXT));
        let clipped = clip(&long);
        assert!(clipped.len() <= TEXT + '…'.len_utf8());
        assert!(clipped.ends_with("ü…"));
        assert_eq!(clip("short"), "short");
    }
}
