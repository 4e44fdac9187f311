//! How many parts of a scope have not ended, and the wait for the last.
//!
//! **Protocol.** 1. It begins at one, for the body. 2. Who adds a part counts it *before* anybody else
//! can see it, and is counted itself, so the count cannot be zero then. 3. Who has ended a part, and dropped all
//! that it borrowed, counts it off; the last one sets the latch, and says whether the waiter is to be woken.
//! 4. The body counts itself off and waits for the latch, unless it was the last.
//!
//! - **P33** What was done before any part was counted off is visible to whoever was the last, and to the waiter
//!   that has seen the latch (P4): each subtraction releases what its thread did, and the last acquires from
//!   all of them.
//!
//! Rejected: a latch for each part (the end would have to wait for each in turn).
//!
//! Tests: the loom models in `checks/tests/pool.rs`; `tests/thread/pool.rs` (scopes).

use super::latch::Latch;
use crate::loom::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(super) struct Tally {
    count: AtomicUsize,
    latch: Latch,
}

impl Tally {
    /// One, for the body.
    pub(super) fn new() -> Self {
        Self {
            count: AtomicUsize::new(1),
            latch: Latch::new(),
        }
    }

    /// One more, added by one that is counted.
    #[inline]
    pub(super) fn add(&self) {
        // Relaxed: the count cannot be zero, the caller is counted itself.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    #[must_use]
    pub(super) fn off(&self) -> Off {
        // Release: what was done before is visible to who is the last; Acquire: for the last (P33).
        #[cfg(not(loom))]
        let order = Ordering::AcqRel;
        #[cfg(loom)]
        let order = fault::order();
        if self.count.fetch_sub(1, order) != 1 {
            Off::More
        } else if self.latch.set() {
            Off::LastWakeWaiter
        } else {
            Off::Last
        }
    }

    /// For the waiter.
    pub(super) fn latch(&self) -> &Latch {
        &self.latch
    }
}

/// What [`Tally::off`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// Others have not ended.
    More,
    /// That was the last; nobody waits yet.
    Last,
    /// That was the last, and the waiter is parked: wake it.
    LastWakeWaiter,
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
