//! What is known of one live task, as a copy.

use super::locks::{Access, Lock};
use crate::event::{Kind, Site};

/// The code has parked its thread until the end of the task that it waits for, or for a lock.
pub(super) const BLOCKED: u16 = 1;
/// The wait has a deadline.
pub(super) const TIMED: u16 = 2;
/// Its thread runs the task that it waits for on top of it.
pub(super) const INSIDE: u16 = 4;
/// It is a future, and its only waker was left with the task, or the lock, that it waits for.
pub(super) const SOLE: u16 = 8;
/// The thread that is blocked runs only a part of the task's code; other parts may go on.
pub(super) const PART: u16 = 256;
/// It is a future that sleeps, and no waker of it is left.
pub(super) const ORPHAN: u16 = 512;

/// A wait for a timer, as a bit for `trace_log::waits_for`.
pub const TIMER: u8 = 16;
/// A wait for input.
pub const READ: u8 = 32;
/// A wait for room to write.
pub const WRITE: u8 = 64;

/// A number with this bit is not a task's, but that of a thread, for what it does outside tasks.
pub(super) const THREAD: u64 = 1 << 63;

/// How many wakers there are of a future that sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakers {
    /// None: nothing can wake it.
    None,
    /// One.
    One,
    /// Several, or it is not known.
    Many,
}

impl Wakers {
    pub(super) fn flag(self) -> u16 {
        match self {
            Self::None => ORPHAN,
            Self::One => SOLE,
            Self::Many => 0,
        }
    }
}

/// What code waits for at a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockWait {
    pub(super) lock: Lock,
    pub(super) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Queued,
    Running,
    Waiting,
}

/// One task.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) parent: u64,
    pub(super) site: Site,
    /// Since when it has been in this phase, in ticks.
    pub(super) since: u64,
    /// The task that it waits for; 0: none.
    pub(super) on: u64,
    /// The lock that it waits for.
    pub(super) wait: Option<LockWait>,
    /// The task whose waker is left with this one; 0: none, or it is not known whose.
    pub(super) waiter: u64,
    pub(super) turn: u32,
    pub(super) polls: u32,
    /// The thread that has run it last.
    pub(super) thread: u32,
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) flags: u16,
}

impl Entry {
    pub(super) fn new(parent: u64, site: Site, kind: Kind, since: u64) -> Self {
        Self {
            parent,
            site,
            since,
            on: 0,
            wait: None,
            waiter: 0,
            turn: 0,
            polls: 0,
            thread: u32::MAX,
            kind,
            phase: match kind {
                Kind::Promise => Phase::Waiting,
                _ => Phase::Queued,
            },
            flags: 0,
        }
    }

    pub(super) fn waits(&mut self, on: u64, flags: u16) {
        (self.on, self.wait, self.flags) = (on, None, flags);
    }
}
