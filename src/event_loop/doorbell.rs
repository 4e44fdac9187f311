//! Whether the loop sleeps, and who must wake it: every atomic transition.
//!
//! ```text
//!             lie_down (1)
//!     AWAKE ───────────────▶ ASLEEP
//!       ▲ ◀───────────────────┘ │
//!       │   get_up (2)          │
//!       └───────────────────────┘        AWAKE ── close (4) ──▶ CLOSED
//!           ring (3): the caller writes
//! ```
//!
//! 1. Before it waits, the loop publishes that it sleeps and *then* looks once
//!    more whether there is work. 2. It woke by itself. 3. A thread that has put
//!    work in rings: only the first to find the loop asleep pays for the system
//!    call. 4. Nobody will look at the work any more.
//!
//! # Invariants
//!
//! - **L1** No wake-up is lost. Work is put in before the fence in `ring`, and
//!   looked for after the fence in `lie_down`. Of two sequentially consistent
//!   fences one is first: either the loop's look sees the work, or the ringing
//!   thread sees `ASLEEP` (or the `AWAKE` of somebody who saw it and writes, or a
//!   later state of the loop, which then has a later look before it).
//! - **L2** No work is left behind. `close` has the same fence and the same look
//!   after it: either the loop takes the work, or `ring` says `Closed` and the
//!   thread that put it in takes it back.
//!
//! At most one write for each sleep; none while the loop is awake.
//!
//! Checked by `checks/tests/loop_models.rs`, with a twin that lacks a fence, and
//! by `tests/event_loop/` (100,000 spawns from eight threads).

use crate::loom::atomic::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const CLOSED: u32 = 2;

/// One loop's state as other threads see it.
#[derive(Debug)]
pub(crate) struct Doorbell(AtomicU32);

/// What a thread that has put work in must still do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Nothing: the loop will look by itself, or somebody else wakes it.
    Heard,
    /// Wake the loop: write to its descriptor.
    Wake,
    /// Take the work back: nobody will look.
    Closed,
}

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// (3) Any thread, after it has put work in.
    pub(crate) fn ring(&self) -> Ring {
        // Partner: the fences in `lie_down` and `close`.
        fence(Ordering::SeqCst);
        match self.0.load(Ordering::Relaxed) {
            AWAKE => Ring::Heard,
            CLOSED => Ring::Closed,
            _ => match self
                .0
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => Ring::Wake,
                Err(CLOSED) => Ring::Closed,
                Err(_) => Ring::Heard,
            },
        }
    }

    /// (1) The loop, before it looks for work a last time.
    pub(crate) fn lie_down(&self) {
        self.0.store(ASLEEP, Ordering::Relaxed);
        #[cfg(loom)]
        if fault::is_broken() {
            return;
        }
        // Partner: the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// (2) The loop, after its wait or after it has found work after all.
    pub(crate) fn get_up(&self) {
        self.0.store(AWAKE, Ordering::Relaxed);
    }

    /// (4) The loop, before it takes what is left for the last time.
    pub(crate) fn close(&self) {
        self.0.store(CLOSED, Ordering::Relaxed);
        // Partner: the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLOSED
    }
}

/// A fault on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(super) mod fault {
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<bool> = const { Cell::new(false) };
    }

    pub(in super::super) fn break_fence(on: bool) {
        BROKEN.set(on);
    }

    pub(super) fn is_broken() -> bool {
        BROKEN.get()
    }
}
