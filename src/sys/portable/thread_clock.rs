//! How much processor time a thread has used: not to be had for another thread by a number.

use std::time::Duration;

/// The clock of one thread: there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ThreadClock {}

impl ThreadClock {
    /// The calling thread's.
    pub(crate) fn mine() -> Option<Self> {
        None
    }

    /// How much processor time its thread has used. `None`: it has ended.
    pub(crate) fn read(self) -> Option<Duration> {
        match self {}
    }

    /// Its thread is at work in this moment, or would be if a processor were free. `None`: that
    /// cannot be told.
    pub(crate) fn wants_to_run(self) -> Option<bool> {
        match self {}
    }

    /// Whether another thread of this process wants to run: not known.
    pub(crate) fn another_wants_to_run() -> bool {
        false
    }
}
