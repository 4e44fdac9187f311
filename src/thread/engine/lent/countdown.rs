//! A countdown latch: counts the unfinished parts of some work.
//!
//! **Protocol.** 1. The count begins with one, the waiter's own part, and the parts that it counts
//! in advance. 2. A thread that adds a part counts it *before* others can see it. It is counted
//! itself, so the count cannot be zero then. 3. A thread that has ended a part, and dropped all
//! that it borrowed, decrements the count, and does not touch it any more, because it may be freed.
//! The last one sets a latch, and wakes the waiter if that is parked. 4. The waiter decrements the
//! count for itself and waits for the latch, unless it was the last.
//!
//! - Everything done before a decrement is visible to the last thread, and to the waiter
//!   that has seen the latch (P4): each decrement releases, and the last acquires from all of them.
//!
//! Rejected: a latch for each part (the end would have to wait for each in turn).
//!
//! Tests: `tests/trefoil-checks/tests/pool.rs::{a_scope_ends_when_all_its_parts_have,
//! a_countdown_that_acquires_nothing_shows_too_little}` (loom);
//! `tests/thread/pool.rs::a_scope_lends_collects_and_nests`.

use crate::loom::atomic::{AtomicUsize, Ordering};

pub(in crate::thread) struct CountdownLatch(AtomicUsize);

impl CountdownLatch {
    /// This many parts, including the waiter's own.
    pub(in crate::thread) fn new(parts: usize) -> Self {
        Self(AtomicUsize::new(parts))
    }

    /// For the waiter: whether only this many parts are left, which are its own.
    pub(in crate::thread) fn is(&self, parts: usize) -> bool {
        // Acquire: everything before the other decrements is visible.
        self.0.load(Ordering::Acquire) == parts
    }

    /// Adds a part; the caller is counted itself.
    #[inline]
    pub(in crate::thread) fn add(&self) {
        // Relaxed: the count cannot be zero, the caller is counted itself.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes this many parts. True: they were the last.
    #[inline]
    pub(in crate::thread) fn off(&self, parts: usize) -> bool {
        // Release: everything before is visible to the last; Acquire: for the last.
        #[cfg(not(loom))]
        let order = Ordering::AcqRel;
        #[cfg(loom)]
        let order = fault::order();
        self.0.fetch_sub(parts, order) == parts
    }
}

/// An injected fault, which the models must catch.
#[cfg(loom)]
pub(in crate::thread) mod fault {
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
