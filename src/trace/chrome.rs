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
//! Times are microseconds with three decimals. Strings are escaped as JSON has it; names are the user's, and may
//! contain anything.
//!
//! Rejected: `serde_json` (a dependency for forty lines); `b`/`e` pairs for tasks across threads (a track each, and
//! programs have a million tasks).
//!
//! Tests: below, `tests/trace/`.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::story::{Body, Mark, Owner, Slice, Story, TaskStory, Track};
use crate::record::{Ending, Kind, Part, Role, What};

/// Where an arrow's end stands in the order of one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Slice(usize),
    Mark(usize),
    End(usize),
    Start(usize),
}

pub(super) fn write(story: &Story, out: &mut impl Write) -> io::Result<()> {
    let mut page = Page {
        out,
        story,
        line: String::new(),
        first: true,
    };
    page.out
        .write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    page.names()?;
    let mut arrows: HashMap<usize, Vec<(u64, Item)>> = HashMap::new();
    for (number, arrow) in story.arrows.iter().enumerate() {
        let mut at = |(track, at), item| arrows.entry(track).or_default().push((at, item));
        at(arrow.from, Item::Start(number));
        at(arrow.to, Item::End(number));
    }
    for (number, track) in story.tracks.iter().enumerate() {
        let mut items = arrows.remove(&number).unwrap_or_default();
        let slices = track.slices.iter().enumerate();
        items.extend(slices.map(|(number, slice)| (slice.at, Item::Slice(number))));
        let marks = track.marks.iter().enumerate();
        items.extend(marks.map(|(number, mark)| (mark.at, Item::Mark(number))));
        items.sort_unstable();
        for (place, &(at, item)) in items.iter().enumerate() {
            match item {
                Item::Slice(number) => page.slice(track, &track.slices[number])?,
                Item::Mark(number) => {
                    // A nanosecond, if nothing begins in it.
                    let next = items[place + 1..]
                        .iter()
                        .find(|(_, item)| matches!(item, Item::Slice(_) | Item::Mark(_)));
                    let length = next.is_none_or(|&(next, _)| next > at);
                    page.mark(track, &track.marks[number], u64::from(length))?;
                }
                Item::Start(number) => page.arrow(track, number, at, "\"ph\":\"s\"")?,
                Item::End(number) => page.arrow(track, number, at, "\"ph\":\"f\",\"bp\":\"e\"")?,
            }
        }
    }
    page.out.write_all(b"\n],\"otherData\":{")?;
    write!(
        page.out,
        "\"recorder\":\"trefoil {}\",\"events\":{},\"lost\":{}}}}}",
        env!("CARGO_PKG_VERSION"),
        story.events,
        story.lost
    )?;
    page.out.write_all(b"\n")
}

struct Page<'a, W> {
    out: &'a mut W,
    story: &'a Story,
    line: String,
    first: bool,
}

impl<W: Write> Page<'_, W> {
    /// Writes an object with what is in `line`.
    fn object(&mut self) -> io::Result<()> {
        let before: &[u8] = if std::mem::take(&mut self.first) {
            b"\n{"
        } else {
            b",\n{"
        };
        self.out.write_all(before)?;
        self.out.write_all(self.line.as_bytes())?;
        self.out.write_all(b"}")?;
        self.line.clear();
        Ok(())
    }

    fn metadata(
        &mut self,
        kind: &str,
        pid: u32,
        tid: u32,
        value: fmt::Arguments<'_>,
    ) -> io::Result<()> {
        let _ = write!(
            self.line,
            "\"ph\":\"M\",\"name\":\"{kind}\",\"pid\":{pid},\"tid\":{tid},\"args\":{{{value}}}"
        );
        self.object()
    }

    fn names(&mut self) -> io::Result<()> {
        let (story, own) = (self.story, self.story.pid);
        let program = std::env::args_os().next();
        let program = program.as_deref().map(std::path::Path::new);
        let name = program.and_then(|path| path.file_name());
        let name = name.map_or_else(|| "this process".into(), |name| name.to_string_lossy());
        self.metadata(
            "process_name",
            own,
            0,
            format_args!("\"name\":{}", Text(&name)),
        )?;
        self.metadata(
            "process_sort_index",
            own,
            0,
            format_args!("\"sort_index\":0"),
        )?;
        for track in &story.tracks {
            let (pid, tid) = (track.pid, track.tid);
            let name = Text(&track.name);
            if let Owner::Process { pool } = track.kind {
                self.metadata(
                    "process_name",
                    pid,
                    tid,
                    format_args!("\"name\":\"worker of process pool {pool}\""),
                )?;
                self.metadata(
                    "process_sort_index",
                    pid,
                    tid,
                    format_args!("\"sort_index\":{pool}"),
                )?;
            }
            self.metadata("thread_name", pid, tid, format_args!("\"name\":{name}"))?;
            let place = match track.kind {
                Owner::Thread(Role::Outside) => 0,
                Owner::Thread(Role::Loop) => 1,
                Owner::Thread(Role::Driver { .. }) => 2,
                Owner::Thread(Role::Worker { pool, index, .. }) => {
                    u64::from(pool & 0xffff) << 16 | u64::from(index & 0xffff)
                }
                Owner::Thread(Role::Offload) => 1 << 33,
                Owner::Process { .. } => 3,
            };
            self.metadata(
                "thread_sort_index",
                pid,
                tid,
                format_args!("\"sort_index\":{place}"),
            )?;
        }
        Ok(())
    }

    fn begin(&mut self, track: &Track, phase: &str, category: &str, name: &str, at: u64) {
        let _ = write!(
            self.line,
            "{phase},\"cat\":\"{category}\",\"name\":{},\"pid\":{},\"tid\":{},\"ts\":{}",
            Text(name),
            track.pid,
            track.tid,
            Micros(at)
        );
    }

    fn slice(&mut self, track: &Track, slice: &Slice) -> io::Result<()> {
        let story = self.story;
        let named;
        let (category, name) = match slice.body {
            Body::Run { task, .. } => {
                named = label(task, story.tasks.get(&task));
                ("task", &*named)
            }
            Body::Part(part) => ("part", part_name(part)),
            Body::Wait { .. } => ("wait", "waits"),
            Body::Sleep if slice.role == Role::Loop => ("idle", "waits for events"),
            Body::Sleep => ("idle", "asleep"),
            Body::Frame { job: 0, .. } => ("process", "initializer"),
            Body::Frame { items: 1, .. } => ("process", "call"),
            Body::Frame { .. } => ("process", "frame"),
        };
        self.begin(track, "\"ph\":\"X\"", category, name, slice.at);
        let _ = write!(self.line, ",\"dur\":{}", Micros(slice.until - slice.at));
        match slice.body {
            Body::Run { task, kind, how } => {
                let how = how.map_or("unknown", ending_name);
                let kind = kind_name(kind);
                let _ = write!(
                    self.line,
                    ",\"args\":{{\"kind\":\"{kind}\",\"ends\":\"{how}\""
                );
                self.task(task);
                self.line.push('}');
            }
            Body::Wait { task } if task != 0 => {
                self.line.push_str(",\"args\":{\"for\":\"a task\"");
                self.task(task);
                self.line.push('}');
            }
            Body::Frame {
                job,
                items,
                ran,
                died,
                ..
            } => {
                let _ = write!(self.line, ",\"args\":{{\"job\":{job},\"items\":{items}");
                if let Some(ran) = ran {
                    let _ = write!(self.line, ",\"ran_us\":{}", Micros(ran));
                }
                if died {
                    self.line.push_str(",\"worker\":\"died\"");
                }
                self.line.push('}');
            }
            Body::Part(_) | Body::Wait { .. } | Body::Sleep => {}
        }
        self.object()
    }

    /// What is known of a task, as further arguments.
    fn task(&mut self, task: u64) {
        let _ = write!(self.line, ",\"task\":{task}");
        let Some(story) = self.story.tasks.get(&task) else {
            return;
        };
        if let Some(name) = &story.name {
            let _ = write!(self.line, ",\"task_name\":{}", Text(name));
        }
        if let Some(parent) = story.parent {
            let _ = write!(self.line, ",\"parent\":{parent}");
        }
        if let Some(site) = story.site {
            let _ = write!(
                self.line,
                ",\"spawned_at\":{}",
                Text(&format!("{}:{}", site.file(), site.line()))
            );
        }
    }

    fn mark(&mut self, track: &Track, mark: &Mark, length: u64) -> io::Result<()> {
        let (category, name) = match mark.what {
            What::Spawned { .. } => ("spawn", "spawn"),
            What::Woken { .. } => ("wake", "wake"),
            What::Stolen { .. } => ("steal", "steal"),
            What::Roused { .. } => ("wake", "wake thread"),
            What::Called { .. } => ("process", "call"),
            What::Settled { how, .. } => ("end", ending_name(how)),
            _ => return Ok(()),
        };
        self.begin(track, "\"ph\":\"X\"", category, name, mark.at);
        let _ = write!(self.line, ",\"dur\":{},\"args\":{{", Micros(length));
        match mark.what {
            What::Spawned { task, kind, .. } => {
                let _ = write!(self.line, "\"kind\":\"{}\"", kind_name(kind));
                self.task(task);
            }
            What::Woken { task } | What::Settled { task, .. } => {
                let _ = write!(self.line, "\"of\":\"a task\"");
                self.task(task);
            }
            What::Stolen { task, from } => {
                let _ = write!(self.line, "\"from_slot\":{from}");
                if task != 0 {
                    self.task(task);
                }
            }
            What::Roused { slot, .. } => {
                let _ = write!(self.line, "\"slot\":{slot}");
            }
            What::Called { pool, job, task } => {
                let _ = write!(self.line, "\"pool\":{pool},\"job\":{job}");
                if task != 0 {
                    self.task(task);
                }
            }
            _ => {}
        }
        self.line.push('}');
        self.object()
    }

    fn arrow(&mut self, track: &Track, number: usize, at: u64, phase: &str) -> io::Result<()> {
        let name = self.story.arrows[number].name;
        self.begin(track, phase, "flow", name, at);
        let _ = write!(self.line, ",\"id\":{}", number + 1);
        self.object()
    }
}

/// What a task is called: by its name, else by its place.
pub(super) fn label(task: u64, story: Option<&TaskStory>) -> String {
    let Some(story) = story else {
        return format!("task {task}");
    };
    match (&story.name, story.site) {
        (Some(name), _) => name.to_string(),
        (None, Some(site)) => {
            let file = site.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!("{file}:{}", site.line())
        }
        (None, None) => format!("task {task}"),
    }
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Half => "part of a join or map",
        Part::Scope => "part of a scope",
        Part::Broadcast => "broadcast",
        Part::Region => "region",
        Part::Blocking => "blocking",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Closure => "closure",
        Kind::Future => "future",
        Kind::Local => "local future",
        Kind::Root => "root future",
        Kind::Promise => "promise",
    }
}

fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Pending => "pending",
        Ending::Panicked => "panicked",
        Ending::Failed => "failed",
        Ending::Cancelled => "cancelled",
        Ending::Closed => "closed",
    }
}

/// Nanoseconds as microseconds.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A string as JSON has it.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c < ' ' || c == '\u{7f}' => write!(f, "\\u{:04x}", u32::from(c))?,
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
        assert_eq!(text, r#""a \"quoted\" \\ \n\u0009\u0001\u007fä""#);
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(Micros(1_234_005).to_string(), "1234.005");
        assert_eq!(Micros(7).to_string(), "0.007");
    }
}
