//! A one-shot latch between the thread that ends some work and the one that waits for it.
//!
//! ```text
//!   PENDING ──park (waiter)──▶ PARKED
//!      │                         │
//!      └──────set (setter)───────┴──▶ DONE
//! ```
//!
//! **Protocol.** 1. The waiter looks ([`is_set`](Latch::is_set)). 2. Before it parks, it announces
//! that ([`park`](Latch::park)); if that fails, the work has ended.
//! 3. The setter swaps in DONE, and wakes the waiter only if it was PARKED. A wake-up is a token in
//!    the waiter's parker, so a wake-up between 2 and the park is kept, and a late one is only
//!    spurious: every waiter looks again before it parks again.
//!
//! - **P4** DONE is final, and everything the setter did before is visible to a thread that sees
//!   it.
//! - **P5** The setter does not touch the latch after its swap: the waiter may have returned, and
//!   the latch may be gone with its stack frame. So it must know which thread to wake before.
//!
//! Rejected: a condition variable in each job (a join would construct and lock it, stolen or not).
//!
//! Tests: `tests/trefoil-checks/tests/pool.rs::{a_latch_shows_what_was_written_before,
//! a_latch_set_in_two_steps_loses_a_waiter}` (loom);
//! `tests/thread/pool.rs::a_wait_for_a_stolen_half_runs_its_children_or_parks_with_a_spare`.

use crate::loom::atomic::{AtomicU32, Ordering};

const PENDING: u32 = 0;
const PARKED: u32 = 1;
const DONE: u32 = 2;

#[derive(Debug)]
pub(in crate::thread) struct Latch(AtomicU32);

impl Latch {
    #[inline]
    pub(in crate::thread) fn new() -> Self {
        Self(AtomicU32::new(PENDING))
    }

    #[inline]
    pub(in crate::thread) fn is_set(&self) -> bool {
        // Acquire: pairs with `set` (P4).
        self.0.load(Ordering::Acquire) == DONE
    }

    /// The waiter is about to park. False: the work has ended.
    pub(in crate::thread) fn park(&self) -> bool {
        let before = self
            .0
            .compare_exchange(PENDING, PARKED, Ordering::AcqRel, Ordering::Acquire);
        before != Err(DONE)
    }

    /// Marks the work as ended if the waiter has not parked. False: it has, and nothing was
    /// changed.
    pub(in crate::thread) fn set_unless_parked(&self) -> bool {
        // Release: the result (P4).
        let before = self
            .0
            .compare_exchange(PENDING, DONE, Ordering::Release, Ordering::Relaxed);
        before.is_ok()
    }

    /// Marks the work as ended. True: the waiter must be woken.
    #[must_use]
    pub(in crate::thread) fn set(&self) -> bool {
        #[cfg(loom)]
        if fault::broken_set() {
            // The broken twin: a look and a store where one step is needed.
            let parked = self.0.load(Ordering::Acquire) == PARKED;
            self.0.store(DONE, Ordering::Release);
            return parked;
        }
        // AcqRel: releases the result (P4), acquires what the waiter wrote before it parked.
        self.0.swap(DONE, Ordering::AcqRel) == PARKED
    }
}

/// A fault to inject, so that the models can be seen to catch it.
#[cfg(loom)]
pub(in crate::thread) mod fault {
    // A switch of the tests: no protocol.
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    pub(in crate::thread) static BROKEN_SET: AtomicBool = AtomicBool::new(false);

    pub(super) fn broken_set() -> bool {
        BROKEN_SET.load(SeqCst)
    }
}
