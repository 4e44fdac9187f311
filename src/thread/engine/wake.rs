//! Wakes a parked thread of the pool, under its name in recordings.
//!
//! Not in a forked child: there the thread does not exist, and another may hold its parker's lock
//! for ever. (The thread that has forked parks in no wait for its parent's pool.)
//!
//! Tests: `tests/thread/pool.rs::both_halves_run_at_once`,
//! `tests/forks/thread.rs::a_child_wakes_no_thread_of_its_parents`,
//! `tests/trace/main.rs::sleep_waits_and_wakes`.

use crate::events;
use crate::loom::Unparker;
use crate::sys::fork;

/// Wakes one thread from its park. Outlives that thread.
#[derive(Clone)]
pub(in crate::thread) struct WakeHandle {
    unparker: Unparker,
    pool: u32,
    slot: usize,
    /// The process that it was made in; see `fork.rs`.
    born: u32,
}

impl WakeHandle {
    /// For the thread in this slot of the pool with this tag.
    pub(in crate::thread) fn new(unparker: Unparker, pool: u32, slot: usize) -> Self {
        Self {
            unparker,
            pool,
            slot,
            born: fork::generation(),
        }
    }

    /// If the thread is not parked, its next park ends at once.
    pub(in crate::thread) fn wake(&self) {
        if self.born != fork::generation() {
            return;
        }
        events::thread_woken(self.pool, self.slot);
        self.unparker.unpark();
    }
}
