//! The priority of a pool handle, while a call through that handle runs.
//!
//! Tests: `tests/thread/priorities.rs`.

use super::priority::{self, Priority};
use super::raw_current as current;
use super::worker::Worker;

/// What runs on this thread has another priority, until this is dropped: that of a handle.
#[must_use]
pub(in crate::thread) struct HandlePriority(Priority);

impl HandlePriority {
    #[cold]
    pub(in crate::thread) fn enter(priority: Priority) -> Self {
        Self(Self::set(priority))
    }

    /// The slots of this thread have the priority of what runs on it.
    fn set(priority: Priority) -> Priority {
        let follow =
            |worker: Option<&Worker>| worker.map(|worker| worker.slot().set_priority(priority));
        current::with(follow);
        current::with_home(follow);
        priority::set(priority)
    }
}

impl Drop for HandlePriority {
    #[cold]
    fn drop(&mut self) {
        Self::set(self.0);
    }
}
