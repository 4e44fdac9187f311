//! Wakes a parked thread of the pool, under its name in recordings.
//!
//! Tests: `tests/thread/pool.rs` as a whole.

use crate::loom::Unparker;
use crate::record;

/// Wakes one thread from its park. Outlives that thread.
#[derive(Clone)]
pub(super) struct WakeHandle {
    unparker: Unparker,
    pool: u32,
    slot: usize,
}

impl WakeHandle {
    /// For the thread in this slot of the pool with this tag.
    pub(super) fn new(unparker: Unparker, pool: u32, slot: usize) -> Self {
        Self {
            unparker,
            pool,
            slot,
        }
    }

    /// If the thread is not parked, its next park ends at once.
    pub(super) fn wake(&self) {
        record::thread_woken(self.pool, self.slot);
        self.unparker.unpark();
    }
}
