//! Whether a thread is in a call that may block; see `thread/spawn_blocking.rs`.
//!
//! Tests: `tests/thread/blocking.rs`.

use std::cell::Cell;

use super::Worker;

/// Whether this thread is in a call that may block, and that is counted.
#[derive(Default)]
pub(super) struct CallFlag(Cell<bool>);

impl Worker {
    /// False: this call does not count.
    pub(in crate::thread) fn begin_call(&self) -> bool {
        if !self.is_counted() || self.call.0.replace(true) {
            return false;
        }
        let registry = self.registry();
        registry.sleep.call_begins();
        self.slot().call.begin_or_end();
        if registry.sleep.lacks_monitor() && registry.has_tasks() {
            registry.published();
        }
        true
    }

    pub(in crate::thread) fn end_call(&self) {
        self.pause_call();
        self.call.0.set(false);
        self.registry().sleep.call_ends();
    }

    /// The call that this thread is in, if any, ends, or begins to wait for a task.
    pub(super) fn pause_call(&self) {
        if self.call.0.get() {
            self.slot().call.begin_or_end();
            // The stall monitor may have marked it as away.
            self.slot().mailbox.open();
        }
    }

    /// The call that this thread is in, if any, goes on after such a wait.
    pub(super) fn resume_call(&self) {
        if self.call.0.get() {
            self.slot().call.begin_or_end();
        }
    }
}
