//! What another process does at a moment: these systems have no common way to find out.

use std::time::Duration;

/// How much memory a process has had at most: not known.
pub fn peak_memory(_pid: u32) -> Option<u64> {
    None
}

/// Whether a process waits for a processor: not known.
pub fn wants_processor(_pid: u32) -> bool {
    false
}

/// What a process does: not known.
#[derive(Debug, PartialEq)]
pub enum Activity {}

impl Activity {
    /// `None`: the system does not say.
    pub fn of(_pid: u32) -> Option<Self> {
        None
    }

    /// It is asleep, or was stopped.
    pub fn waits(&self) -> bool {
        match *self {}
    }

    /// Its processor time.
    pub fn used(&self) -> Duration {
        match *self {}
    }
}
