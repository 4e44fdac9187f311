//! The story as JSON, in the "Trace Event Format" that Perfetto and Chrome read.
//!
//! **Job.** One object for each event, written one by one: nothing of the whole is kept in memory as text.
//!
//! 1. Metadata (`M`): names of processes and threads, and their order.
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

use super::story::{Arrow, Body, Mark, Owner, Slice, Story, Track};
use crate::record::{Role, What};

/// What stands on a track at one moment.
enum Item<'a> {
    Slice(&'a Slice),
    Mark(&'a Mark),
    Arrow(&'a Arrow),
}

pub(super) fn write(story: &Story, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page {
        out,
        story,
        first: true,
    };
    page.out
        .write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    page.names()?;
    for track in &story.tracks {
        page.track(track)?;
    }
    let about = Object::new()
        .text("recorder", concat!("trefoil ", env!("CARGO_PKG_VERSION")))
        .put("events", story.events)
        .put("lost", story.lost);
    writeln!(page.out, "\n],\"otherData\":{about}}}")
}

struct Page<'a, W> {
    out: &'a mut W,
    story: &'a Story,
    first: bool,
}

impl<W: Write> Page<'_, W> {
    fn object(&mut self, object: &Object) -> io::Result<()> {
        let before = if self.first { "\n" } else { ",\n" };
        self.first = false;
        write!(self.out, "{before}{object}")
    }

    fn metadata(&mut self, name: &str, pid: u32, tid: u32, args: Object) -> io::Result<()> {
        let object = Object::new().text("ph", "M").text("name", name);
        self.object(&object.put("pid", pid).put("tid", tid).put("args", args))
    }

    fn names(&mut self) -> io::Result<()> {
        let own = self.story.pid;
        let program = std::env::args_os().next();
        let name = program
            .as_deref()
            .and_then(|path| Path::new(path).file_name());
        let name = name.map_or("this process".into(), |name| name.to_string_lossy());
        self.metadata("process_name", own, 0, Object::new().text("name", &name))?;
        self.metadata(
            "process_sort_index",
            own,
            0,
            Object::new().put("sort_index", 0),
        )?;
        let mut tracks: Vec<&Track> = self.story.tracks.iter().collect();
        tracks.sort_by_key(|track| track.owner);
        for (place, track) in tracks.into_iter().enumerate() {
            let (pid, tid) = (track.pid, track.tid);
            if let Owner::Process { pool } = track.owner {
                let name = format!("worker of process pool {pool}");
                self.metadata("process_name", pid, tid, Object::new().text("name", &name))?;
                self.metadata(
                    "process_sort_index",
                    pid,
                    tid,
                    Object::new().put("sort_index", pool),
                )?;
            }
            self.metadata(
                "thread_name",
                pid,
                tid,
                Object::new().text("name", &track.name),
            )?;
            self.metadata(
                "thread_sort_index",
                pid,
                tid,
                Object::new().put("sort_index", place),
            )?;
        }
        Ok(())
    }

    fn track(&mut self, track: &Track) -> io::Result<()> {
        let slices = track.slices.iter().map(|one| (one.at, Item::Slice(one)));
        let marks = track.marks.iter().map(|one| (one.at, Item::Mark(one)));
        let arrows = |ends| {
            let arrows = track.arrows.iter().filter(move |one| one.ends == ends);
            arrows.map(|one| (one.at, Item::Arrow(one)))
        };
        let mut items: Vec<(u64, Item<'_>)> = slices.chain(marks).collect();
        items.extend(arrows(true).chain(arrows(false)));
        items.sort_by_key(|(at, _)| *at); // it is stable
        for (place, (at, item)) in items.iter().enumerate() {
            let event = match item {
                Item::Slice(slice) => self.slice(slice),
                Item::Mark(mark) => {
                    // A nanosecond, if nothing begins in it.
                    let mut rest = items[place + 1..].iter();
                    let next = rest.find(|(_, item)| !matches!(item, Item::Arrow(_)));
                    let length = next.is_none_or(|(next, _)| next > at);
                    self.mark(mark, u64::from(length))
                }
                Item::Arrow(arrow) => {
                    let Arrow { id, name, .. } = arrow;
                    let phase = if arrow.ends { "f" } else { "s" };
                    let arrow = Object::new().text("ph", phase).text("bp", "e");
                    arrow.text("cat", "flow").text("name", name).put("id", id)
                }
            };
            let event = event.put("pid", track.pid).put("tid", track.tid);
            self.object(&event.put("ts", Micros(*at)))?;
        }
        Ok(())
    }

    fn slice(&self, slice: &Slice) -> Object {
        let named;
        let (category, name, args) = match slice.body {
            Body::Run { task, kind, how } => {
                named = self.story.label(task);
                let ends = how.map_or("unknown", |how| how.name());
                let args = Object::new().text("kind", kind.name()).text("ends", ends);
                ("task", &*named, self.about(task, args))
            }
            Body::Part(part) => ("part", part.name(), Object::new()),
            Body::Wait { task } => ("wait", "waits", self.about(task, Object::new())),
            Body::Sleep if slice.role == Role::Loop => ("idle", "waits for events", Object::new()),
            Body::Sleep => ("idle", "asleep", Object::new()),
            Body::Frame {
                job,
                items,
                ran,
                died,
                ..
            } => {
                let name = match (job, items) {
                    (0, _) => "initializer",
                    (_, 1) => "call",
                    _ => "frame",
                };
                let mut args = Object::new().put("job", job).put("items", items);
                if let Some(ran) = ran {
                    args = args.put("ran_us", Micros(ran));
                }
                if died {
                    args = args.text("worker", "died");
                }
                ("process", name, args)
            }
        };
        complete(category, name, slice.until - slice.at, args)
    }

    fn mark(&self, mark: &Mark, length: u64) -> Object {
        let args = Object::new();
        let (category, name, task, args) = match mark.what {
            What::Spawned { task, kind, .. } => {
                ("spawn", "spawn", task, args.text("kind", kind.name()))
            }
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
        complete(category, name, length, self.about(task, args))
    }

    /// What is known of a task, as further arguments; 0 is none.
    fn about(&self, task: u64, mut args: Object) -> Object {
        if task == 0 {
            return args;
        }
        args = args.put("task", task);
        let Some(story) = self.story.tasks.get(&task) else {
            return args;
        };
        if let Some(name) = &story.name {
            args = args.text("task_name", name);
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
