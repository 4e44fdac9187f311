//! The events of a recording: 24 bytes each, and 8 for the time.
//!
//! An event is a [`What`] and a time; it is copied, never dropped. It refers to objects by numbers:
//! a task's id, a pool's tag, a slot's number in its pool, a process id. `recording` reads them.
//!
//! A span of time is two events on one thread (`Begun` and `Ended`). These nest, because the code
//! between them nests. Either may be missing, if a recording begins or stops in between.
//!
//! Rejected: one event with a length, written at the end (code that never ends would not be seen);
//! names and locations as text in the event (an allocation for each).
//!
//! Tests: below (the size), `tests/trace/main.rs::{a_task_is_spawned_runs_and_ends,
//! nothing_is_lost_among_eight_threads}`.

#![cfg_attr(not(feature = "trace"), allow(dead_code))] // some are read by recordings alone

use std::panic::Location;

/// An event at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// In ticks of the recording's clock; once the recording has stopped, in nanoseconds from its
    /// start.
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// Where a task was spawned.
pub type Site = &'static Location<'static>;

/// What happened; the functions of `trace_log` document it.
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

/// Items of one job that go to a worker process together. The sequence number is counted for each
/// process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) pool: u32,
    pub(crate) pid: u32,
    pub(crate) sequence: u32,
    pub(crate) job: u32,
    pub(crate) items: u32,
}

/// The number of items of that frame that were run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) sequence: u32,
    pub(crate) items: u32,
}

/// The role of a thread, or of something else with a line in the picture. In the order in which
/// pictures show them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A thread of no executor, or an outside thread in a pool.
    #[default]
    Outside,
    /// A thread that runs an event loop.
    Loop,
    /// A thread that drives a process pool.
    Driver {
        /// The number of the pool.
        pool: u32,
    },
    /// A thread of a thread pool.
    Worker {
        /// The pool's tag.
        pool: u32,
        /// The number of its place.
        index: u32,
        /// The number of its slot.
        slot: u32,
    },
    /// A thread that makes blocking calls for loops.
    BlockingCalls,
    /// A worker process.
    Process {
        /// The number of the pool.
        pool: u32,
    },
}

/// The kind of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A closure.
    Closure,
    /// A future that any thread of its pool may poll.
    Future,
    /// A future that stays on one thread.
    Local,
    /// The root future of a loop.
    Root,
    /// A task that is completed from outside: by a reply, by a callback.
    Promise,
}

/// How a task's code, or a task, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned.
    Done,
    /// A poll has ended, and the future waits.
    Pending,
    /// It panicked.
    Panicked,
    /// The task ended in another error.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its executor has ended.
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
