//! Whether a worker moves, stands still, or is away: the states in which the stall monitor and the
//! worker agree who counts as waiting.
//!
//! **Protocol.** A worker *moves* from where it begins to look for work until it sleeps, or parks
//! in a wait of this crate; otherwise it is *away*. The stall monitor marks one that moves as one
//! that *stands* (it is stuck in a wait that no pool sees), and counts it as blocked, so that
//! another thread takes its place. When the worker looks for work again, parks or sleeps, it takes
//! the mark away, and counts as a runner again. It may do so at once: so the monitor adds it to the
//! blocked ones before it marks it, and subtracts it from the runners afterwards
//! (`SleepState::block_another`), and neither number is ever too small. While a worker is marked,
//! its mailbox is closed, as that of one that is away: other workers act for its place.
//!
//! Tests: `tests/thread/noise.rs`, `tests/thread/stuck.rs`; loom models in
//! `tests/trefoil-checks/tests/pool.rs`.

use crate::loom::atomic::{AtomicU32, Ordering};

const AWAY: u32 = 0;
const MOVES: u32 = 1;
const STANDS: u32 = 2;

/// The state of one worker.
pub(in crate::thread) struct Standing(AtomicU32);

impl Standing {
    pub(in crate::thread) fn new() -> Self {
        Self(AtomicU32::new(AWAY))
    }

    /// The worker moves from now on. True: it was marked.
    pub(in crate::thread) fn moves(&self) -> bool {
        self.0.swap(MOVES, Ordering::AcqRel) == STANDS
    }

    /// The worker is about to be away. True: it was marked.
    pub(in crate::thread) fn leaves(&self) -> bool {
        self.0.swap(AWAY, Ordering::AcqRel) == STANDS
    }

    /// Marks a worker that moves. True: it is marked now.
    pub(in crate::thread) fn mark(&self) -> bool {
        let marked = self
            .0
            .compare_exchange(MOVES, STANDS, Ordering::AcqRel, Ordering::Relaxed);
        marked.is_ok()
    }

    /// Whether the worker is marked.
    #[inline]
    pub(in crate::thread) fn is_marked(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STANDS
    }

    /// Whether the worker is neither away nor marked.
    pub(in crate::thread) fn is_moving(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MOVES
    }
}
