//! The story as JSON, in the "Trace Event Format" that Perfetto and Chrome read.
//!
//! **Job.** One object for each event, written one by one: nothing of the whole is kept in memory as text.
//!
//! 1. The program's name, and for each track its name and its place among the others (metadata, `M`).
//! 2. For each track its slices as complete events (`X`), outer before inner, and its marks as slices of a nanosecond,
//!    which arrows can begin at.
//! 3. Arrows as flow events: `s` right behind the mark where it begins, `f` (bound to the enclosing slice) right behind
//!    the slice where it ends; the viewers bind them to the innermost slice that is open there.
//!
//! Times are microseconds with three decimals. Names are the user's, and may contain anything.
//!
//! Rejected: `serde_json` (a program with this feature would get its `impl PartialEq<Value> for u64`, with which
//! `assert_eq!(n, numbers.sum())` does not compile any more); `b`/`e` pairs for tasks across threads (a track each, and programs have a million tasks).
//!
//! Tests: below, `tests/trace/`.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::path::Path;

use super::story::{Arrow, Body, Outcome, Slice, Story, Track};
use crate::record::{Event, Role, What};

/// What stands on a track at one moment.
enum Item<'a> {
    Slice(&'a Slice),
    Mark(What),
    Arrow(&'a Arrow),
}

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

/// Says something about a process, or a thread.
fn metadata(what: &str, (pid, tid): (u32, u32), key: &str, value: impl Display) -> Object {
    let object = Object::new().text("ph", "M").text("name", what);
    let object = object.put("pid", pid).put("tid", tid);
    object.put("args", Object::new().put(key, value))
}

fn write_track(story: &Story, track: &Track, out: &mut impl Write) -> io::Result<()> {
    let slices = track.slices.iter().map(|one| (one.at, Item::Slice(one)));
    let marks = track.marks.iter();
    let marks = marks.map(|&Event { at, what }| (at, Item::Mark(what)));
    let arrows = |ends| {
        let arrows = track.arrows.iter().filter(move |one| one.ends == ends);
        arrows.map(|one| (one.at, Item::Arrow(one)))
    };
    let mut items: Vec<(u64, Item<'_>)> = slices.chain(marks).collect();
    items.extend(arrows(true).chain(arrows(false)));
    items.sort_by_key(|(at, _)| *at); // it is stable
    for (place, (at, item)) in items.iter().enumerate() {
        let event = match item {
            Item::Slice(slice) => show_slice(story, slice),
            Item::Mark(what) => {
                // A nanosecond, if nothing begins in it.
                let mut rest = items[place + 1..].iter();
                let next = rest.find(|(_, item)| !matches!(item, Item::Arrow(_)));
                let length = next.is_none_or(|(next, _)| next > at);
                show_mark(story, what, u64::from(length))
            }
            Item::Arrow(Arrow { id, name, ends, .. }) => {
                let phase = if *ends { "f" } else { "s" };
                let arrow = Object::new().text("ph", phase).text("bp", "e");
                arrow.text("cat", "flow").text("name", name).put("id", id)
            }
        };
        let event = event.put("pid", track.pid).put("tid", track.tid);
        write!(out, ",\n{}", event.put("ts", Micros(*at)))?;
    }
    Ok(())
}

fn show_slice(story: &Story, slice: &Slice) -> Object {
    let named;
    let args = Object::new();
    let (category, name, args) = match slice.body {
        Body::Run { task, how } => {
            named = story.label(task);
            let ends = how.map_or("unknown", |how| how.name());
            ("task", &*named, about(story, task, args.text("ends", ends)))
        }
        Body::Part(part) => ("part", part, args),
        Body::Wait { task } => ("wait", "waits", about(story, task, args)),
        Body::Sleep if slice.role == Role::Loop => ("idle", "waits for events", args),
        Body::Sleep => ("idle", "asleep", args),
        Body::Frame(frame, outcome) => {
            let name = match (frame.job, frame.items) {
                (0, _) => "initializer",
                (_, 1) => "call",
                _ => "frame",
            };
            let args = args.put("job", frame.job).put("items", frame.items);
            let args = match outcome {
                Outcome::Ran(nanos) => args.put("ran_us", Micros(nanos)),
                Outcome::Died => args.text("worker", "died"),
                Outcome::Unknown => args,
            };
            ("process", name, args)
        }
    };
    complete(category, name, slice.length(), args)
}

fn show_mark(story: &Story, what: &What, length: u64) -> Object {
    let args = Object::new();
    let (category, name, task, args) = match *what {
        What::Spawned { task, .. } => ("spawn", "spawn", task, args),
        What::Woken { task } => ("wake", "wake", task, args),
        What::Stolen { task, from } => ("steal", "steal", task, args.put("from_slot", from)),
        What::Roused { slot, .. } => ("wake", "wake thread", 0, args.put("slot", slot)),
        What::Called { pool, job, task } => {
            let args = args.put("pool", pool).put("job", job);
            ("process", "call", task, args)
        }
        What::Settled { task, how } => ("end", how.name(), task, args),
        _ => ("mark", "mark", 0, args),
    };
    complete(category, name, length, about(story, task, args))
}

/// What is known of a task, as further arguments; 0 is none.
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
    if let Some(kind) = story.kind {
        args = args.text("kind", kind.name());
    }
    if let Some(parent) = story.parent {
        args = args.put("parent", parent);
    }
    if let Some(site) = story.site {
        let site = format!("{}:{}", site.file(), site.line());
        args = args.text("spawned_at", &site);
    }
    args
}

/// An event with a beginning and a length.
fn complete(category: &str, name: &str, length: u64, args: Object) -> Object {
    let event = Object::new().text("ph", "X").text("cat", category);
    let event = event.text("name", name).put("dur", Micros(length));
    event.put("args", args)
}

/// A JSON object: its members, as text.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self(String::new())
    }

    /// `value` is JSON already.
    fn put(mut self, key: &str, value: impl Display) -> Self {
        let before = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{before}\"{key}\":{value}");
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        self.put(key, Text(text))
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A string as JSON has it.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_ascii_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let text = Text("a \"quoted\" \\ \n\t\u{1}\u{7f}ä").to_string();
        assert_eq!(text, r#""a \"quoted\" \\ \u000a\u0009\u0001\u007fä""#);
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(Micros(1_234_005).to_string(), "1234.005");
        assert_eq!(Micros(7).to_string(), "0.007");
    }
}
