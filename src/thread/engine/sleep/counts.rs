//! How many threads of a pool are in each state: one word.
//!
//! Each thread is in exactly one of the states, except that a searcher is also a runner. One flag
//! says that there is a stall monitor, another that the pool is closing.
//!
//! - `running` counts exactly the threads that have been recruited or unblocked and have not
//!   since gone to sleep, blocked or ended.

pub(super) const RUNNING: u64 = 1;
pub(super) const SEARCHING: u64 = 1 << 20;
pub(super) const BLOCKED: u64 = 1 << 40;
pub(super) const MONITORED: u64 = 1 << 60;
pub(super) const CLOSING: u64 = 1 << 61;
const FIELD: u64 = (1 << 20) - 1;

/// A copy of the word, taken apart.
#[derive(Clone, Copy)]
pub(in crate::thread) struct ThreadCounts(pub(super) u64);

impl ThreadCounts {
    pub(in crate::thread) fn running(self) -> usize {
        (self.0 & FIELD) as usize
    }
    pub(in crate::thread) fn searching(self) -> usize {
        ((self.0 / SEARCHING) & FIELD) as usize
    }
    pub(in crate::thread) fn blocked(self) -> usize {
        ((self.0 / BLOCKED) & FIELD) as usize
    }
    pub(super) fn is_monitored(self) -> bool {
        self.0 & MONITORED != 0
    }
    pub(in crate::thread) fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }
}
