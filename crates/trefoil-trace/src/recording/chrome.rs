//! Writes a trace as JSON, in the "Trace Event Format" that Perfetto and Chrome read.
//!
//! **Job.** Writes one object for each event, one by one, so that the text is never in memory as a
//! whole.
//!
//! 1. The program's name, and for each track its name and its place among the others (metadata,
//!    `M`).
//! 2. For each track its slices as complete events (`X`), outer before inner, and its marks as
//!    slices of a nanosecond, which arrows can begin at.
//! 3. Arrows as flow events: `s` right behind the mark where it begins, `f` (bound to the enclosing
//!    slice) right behind the slice where it ends; viewers bind them to the innermost open slice.
//!
//! Times are microseconds with three decimals. Names come from the user and may contain any
//! character.
//!
//! Rejected: `b`/`e` pairs for tasks across threads (one track each, and programs have a million
//! tasks).
//!
//! Tests: below; `tests/trace/main.rs::calls_to_processes_are_on_tracks_of_their_own`,
//! `tests/trace/hostile.rs::no_report_has_what_a_terminal_obeys`.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::Path;

use super::story::{Arrow, Slice, Story, Track};
use crate::event::{Role, What};
use crate::json::{Object, Text};

pub(super) fn write(story: &Story, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let program = program.to_string_lossy();
    let first = metadata("process_name", (story.pid, 0), "name", Text(&program));
    write!(out, "{first}")?;
    let mut tracks: Vec<&Track> = story.tracks.iter().collect();
    tracks.sort_by_key(|track| track.role);
    for (place, track) in tracks.into_iter().enumerate() {
        let line = (track.pid, track.tid);
        if let Role::Process { pool } = track.role {
            let name = format!("worker of process pool {pool}");
            let name = metadata("process_name", line, "name", Text(&name));
            write!(out, ",\n{name}")?;
        }
        let name = metadata("thread_name", line, "name", Text(&track.name));
        let order = metadata("thread_sort_index", line, "sort_index", place);
        write!(out, ",\n{name},\n{order}")?;
        write_track(story, track, out)?;
    }
    let about = Object::new()
        .text("recorder", concat!("trefoil ", env!("CARGO_PKG_VERSION")))
        .put("events", story.events)
        .put("lost", story.lost);
    writeln!(out, "\n],\"otherData\":{about}}}")
}

/// Metadata of a process or a thread.
fn metadata(what: &str, (pid, tid): (u32, u32), key: &str, value: impl Display) -> Object {
    let object = Object::new().text("ph", "M").text("name", what);
    let object = object.put("pid", pid).put("tid", tid);
    object.put("args", Object::new().put(key, value))
}

fn write_track(story: &Story, track: &Track, out: &mut impl Write) -> io::Result<()> {
    let mut write = |at, event: Object| {
        let event = event.put("pid", track.pid).put("tid", track.tid);
        write!(out, ",\n{}", event.put("ts", Micros(at)))
    };
    let mut arrows = track.arrows.iter().peekable();
    for slice in &track.slices {
        while let Some(arrow) = arrows.next_if(|arrow| arrow.at < slice.at) {
            write(arrow.at, show_arrow(arrow))?;
        }
        write(slice.at, show_slice(story, slice))?;
    }
    arrows.try_for_each(|arrow| write(arrow.at, show_arrow(arrow)))
}

fn show_arrow(Arrow { id, name, ends, .. }: &Arrow) -> Object {
    let phase = if *ends { "f" } else { "s" };
    let arrow = Object::new().text("ph", phase).text("bp", "e");
    arrow.text("cat", "flow").text("name", name).put("id", id)
}

fn show_slice(story: &Story, slice: &Slice) -> Object {
    let label;
    let args = Object::new();
    let (category, name, task, args) = match slice.what {
        What::Begun { task, .. } | What::Ended { task, .. } => {
            label = story.label(task);
            let ends = match slice.end {
                Some(What::Ended { how, .. }) => how.name(),
                _ => "unknown",
            };
            ("task", &*label, task, args.text("ends", ends))
        }
        What::PartBegun { part } | What::PartEnded { part } => ("part", part, 0, args),
        What::Awaits { task } => ("wait", "waits", task, args),
        What::Waited => ("wait", "waits", 0, args),
        What::Sleeps | What::Slept if slice.role == Role::Loop => {
            ("idle", "waits for events", 0, args)
        }
        What::Sleeps | What::Slept => ("idle", "asleep", 0, args),
        What::Sent(frame) => {
            let name = match (frame.job, frame.items) {
                (0, _) => "initializer",
                (_, 1) => "call",
                _ => "frame",
            };
            let args = args.put("job", frame.job).put("items", frame.items);
            let args = match slice.end {
                Some(What::Answered { nanos, .. }) => args.put("ran_us", Micros(nanos)),
                Some(What::Fell { .. }) => args.text("worker", "died"),
                _ => args,
            };
            ("process", name, 0, args)
        }
        What::Spawned { task, .. } => ("spawn", "spawn", task, args),
        What::Woken { task } => ("wake", "wake", task, args),
        What::Stolen { task, from } => ("steal", "steal", task, args.put("from_slot", from)),
        What::Roused { slot, .. } => ("wake", "wake thread", 0, args.put("slot", slot)),
        What::Called { pool, job, task } => {
            let args = args.put("pool", pool).put("job", job);
            ("process", "call", task, args)
        }
        What::Settled { task, how } => ("end", how.name(), task, args),
        // No slices.
        What::Is { .. } | What::Waits | What::Answered { .. } | What::Fell { .. } => {
            ("mark", "mark", 0, args)
        }
    };
    let event = Object::new().text("ph", "X").text("cat", category);
    let event = event.text("name", name).put("dur", Micros(slice.length()));
    event.put("args", about(story, task, args))
}

/// A task's details, as further arguments; 0 is no task.
fn about(story: &Story, task: u64, mut args: Object) -> Object {
    if task == 0 {
        return args;
    }
    args = args.put("task", task);
    let Some(story) = story.tasks.get(&task) else {
        return args;
    };
    if let Some(name) = &story.name {
        args = args.text("task_name", name);
    }
    if let Some(parent) = story.parent {
        args = args.put("parent", parent);
    }
    if let Some((site, kind)) = story.made {
        args = args.text("kind", kind.name());
        let site = format!("{}:{}", site.file(), site.line());
        args = args.text("spawned_at", &site);
    }
    args
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(Micros(1_234_005).to_string(), "1234.005");
        assert_eq!(Micros(7).to_string(), "0.007");
    }
}
