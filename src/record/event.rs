//! What can be recorded: 24 bytes of it, and 8 for the time.
//!
//! An event is [`What`] and when; it is copied, never dropped. Numbers stand for things: a task's id, a
//! pool's tag, a slot's number in its pool, a process id. `crate::trace` reads them.
//!
//! What has a length is two events on one thread (`Begun` and `Ended`), and these nest, because the code that they stand
//! around nests. Either may be missing, where a recording begins or stops in between.
//!
//! Rejected: lengths in one event, written at the end (what goes on for ever, or hangs, would not be seen);
//! names and places as text in the event (an allocation for each).
//!
//! Tests: below (the size), `tests/trace/`.

use std::panic::Location;

/// Something that happened at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// In ticks of the recording's clock; once the recording has stopped, in nanoseconds from its start.
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// Where a task was spawned.
pub(crate) type Site = &'static Location<'static>;

/// What happened; the functions of the parent module say it in words.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Is { role: Role },
    Spawned { task: u64, site: Site, kind: Kind },
    Begun { task: u64, site: Site, kind: Kind },
    Ended { task: u64, how: Ending },
    Settled { task: u64, how: Ending },
    Woken { task: u64 },
    Stolen { task: u64, from: usize },
    PartBegun { part: &'static str },
    PartEnded { part: &'static str },
    Awaits { task: u64 },
    Waits,
    Waited,
    Sleeps,
    Slept,
    Roused { pool: u32, slot: u32 },
    Called { pool: u32, job: u32, task: u64 },
    Sent(Frame),
    Answered { pid: u32, done: Done, nanos: u64 },
    Fell { pid: u32 },
}

/// Items of one job that go to a worker process together. The sequence number is one of that process's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) pool: u32,
    pub(crate) pid: u32,
    pub(crate) sequence: u32,
    pub(crate) job: u32,
    pub(crate) items: u32,
}

/// So many items of that frame were run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) sequence: u32,
    pub(crate) items: u32,
}

/// What a thread is, or what else has a line in the picture. In the order in which pictures show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// None of ours, or a guest in a pool.
    #[default]
    Outside,
    /// It turns an event loop.
    Loop,
    /// It drives a pool of processes.
    Driver { pool: u32 },
    /// In the slot of a thread pool; `index` is its place's number.
    Worker { pool: u32, index: u32, slot: u32 },
    /// It makes blocking calls for loops.
    Offload,
    /// No thread but a worker process.
    Process { pool: u32 },
}

/// Of what kind a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Closure,
    Future,
    /// A future of one thread's.
    Local,
    /// The future that a loop runs for.
    Root,
    /// Ended from outside: by a reply, by a callback.
    Promise,
}

/// How a task's code, or a task, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// A poll is over, and the future waits.
    Pending,
    Panicked,
    /// In another error.
    Failed,
    Cancelled,
    Closed,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Closure => "closure",
            Self::Future => "future",
            Self::Local => "local future",
            Self::Root => "root future",
            Self::Promise => "promise",
        }
    }
}

impl Ending {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Panicked => "panicked",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_takes_four_words() {
        assert_eq!(size_of::<Event>(), 32);
    }
}
