//! What another process does at a moment: these systems have no common way to find out.

use std::time::Duration;

/// What a process does: not known.
#[derive(Debug, PartialEq)]
pub(crate) enum Activity {}

impl Activity {
    pub(crate) fn of(_pid: u32) -> Option<Self> {
        None
    }

    /// It is asleep, or was stopped.
    pub(crate) fn waits(&self) -> bool {
        match *self {}
    }

    /// Its processor time.
    pub(crate) fn used(&self) -> Duration {
        match *self {}
    }
}
