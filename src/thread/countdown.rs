//! How many parts of some work have not ended.
//!
//! **Protocol.** 1. It begins with one, the waiter's own, and those that it counts in advance. 2. A thread that adds a part counts it *before*
//! others can see it, and is counted itself, so the count cannot be zero then. 3. A thread that has ended a part, and dropped all
//! that it borrowed, counts it off, and does not touch the count any more: it may be gone. The last one sets a latch, and wakes the
//! waiter if that is parked. 4. The waiter counts itself off and waits for the latch, unless it was the last.
//!
//! - **P33** What was done before any part was counted off is visible to the thread that was the last, and to the waiter
//!   that has seen the latch (P4): each subtraction releases what its thread did, and the last acquires from
//!   all of them.
//!
//! Rejected: a latch for each part (the end would have to wait for each in turn).
//!
//! Tests: the loom models in `checks/tests/pool.rs`; `tests/thread/pool.rs` (scopes).

use crate::loom::atomic::{AtomicUsize, Ordering};

pub(super) struct Countdown(AtomicUsize);

impl Countdown {
    /// So many parts, the waiter's own with them.
    pub(super) fn new(parts: usize) -> Self {
        Self(AtomicUsize::new(parts))
    }

    /// For the waiter: no more parts than these, which are its own, are left.
    pub(super) fn is(&self, parts: usize) -> bool {
        // Acquire: what was done before the others were counted off is visible (P33).
        self.0.load(Ordering::Acquire) == parts
    }

    /// One more, added by one that is counted.
    #[inline]
    pub(super) fn add(&self) {
        // Relaxed: the count cannot be zero, the caller is counted itself.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many less. True: they were the last.
    #[inline]
    pub(super) fn off(&self, parts: usize) -> bool {
        // Release: what was done before is visible to the last; Acquire: for the last (P33).
        #[cfg(not(loom))]
        let order = Ordering::AcqRel;
        #[cfg(loom)]
        let order = fault::order();
        self.0.fetch_sub(parts, order) == parts
    }
}

/// A fault to inject, so that the models can be seen to catch it.
#[cfg(loom)]
pub(super) mod fault {
    use super::Ordering;
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    pub(in crate::thread) static RELAXED: AtomicBool = AtomicBool::new(false);

    pub(super) fn order() -> Ordering {
        if RELAXED.load(SeqCst) {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        }
    }
}
