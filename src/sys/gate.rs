//! The items of one frame: which of them have begun, and which are still to be had.
//!
//! **Job.** A worker begins the items of a frame one after the other; its parent may take back
//! those that have not begun. Every item is either begun or taken back, never both; and after a
//! death, between any two instructions, it can be told which have begun.
//!
//! ```text
//!   word      end (32 bits) │ claimed (32 bits)
//! ```
//!
//! **Protocol.** All is decided by the order of atomic operations on one word.
//! 1. The parent opens the gate with `end` items, before it sends the frame ([`Gate::open`]).
//! 2. The worker adds one to `claimed` ([`Gate::take`]). The item has begun if it was below `end`
//!    in that step; else there are no more, and `claimed` means nothing past `end`.
//! 3. To take items back, the parent lowers `end`, to no less than `claimed` ([`Gate::recall`]). So
//!    does the worker, to run no more. `end` never rises.
//!
//! Beside this word: a flag that says that the rest of the frame, the running item included, is not
//! wanted any more; and, for frames whose items may not run for ever, when the last item started.
//! That is stored before the item is claimed, so a reader that sees an item begun never sees an
//! earlier start than its own.
//!
//! Rejected: to claim many items at a time, since those that are claimed wait behind a long one; an
//! item that begins without an atomic operation (`docs/DESIGN.md`).
//!
//! Tests: below; `checks/tests/process_models.rs` (under loom); `sys::ledger`; `sched::sim`.

use crate::loom::atomic::{AtomicU64, Ordering};

/// How many frames of work a worker has at once: gates and window.
pub(crate) const GATES: usize = 64;

/// The items of one frame.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Gate {
    word: AtomicU64,
    unwanted: AtomicU64,
    started: AtomicU64,
}

impl Gate {
    /// A gate outside any ledger: of a plain worker, as its parent sees it, and in simulations and
    /// models.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            started: AtomicU64::new(0),
        }
    }

    /// What a misbehaving worker may write.
    #[cfg(test)]
    pub(crate) fn scribble(&self, word: u64) {
        self.word.store(word, Ordering::Release);
        self.unwanted.store(word, Ordering::Release);
        self.started.store(word, Ordering::Release);
    }
}

/// The parent's side.
impl Gate {
    /// A frame of `count` items begins. The message that carries the frame orders this before the
    /// worker's first `take`.
    pub(crate) fn open(&self, count: u32) {
        self.unwanted.store(0, Ordering::Release);
        self.word.store(word(count, 0), Ordering::Release);
    }

    /// What runs of this frame, or is left of it, is not wanted any more. The message that has the
    /// worker look orders this before its look.
    pub(crate) fn disown(&self) {
        self.unwanted.store(1, Ordering::Release);
    }

    /// When the last item started; for a caller that has just seen it taken.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// How many items have been taken.
    pub(crate) fn taken(&self) -> u32 {
        let word = self.word.load(Ordering::Acquire);
        claimed(word).min(end(word))
    }

    /// Takes back all items from `from` on that have not been taken.
    /// Returns the new end: `from`, or more if the worker is already past it.
    pub(crate) fn recall(&self, from: u32) -> u32 {
        let lowered = |seen| from.max(claimed(seen)).min(end(seen));
        let seen = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
                let new = lowered(seen);
                (new < end(seen)).then(|| word(new, claimed(seen)))
            });
        lowered(seen.unwrap_or_else(|unchanged| unchanged))
    }
}

/// The worker's side.
impl Gate {
    /// See [`disown`](Self::disown).
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Acquire) != 0
    }

    /// The item that is taken next starts at this time. Before the `take`.
    pub(crate) fn starts(&self, time: u64) {
        self.started.store(time, Ordering::Release);
    }

    /// Takes the next item; `None` if there is no more. What was written before is
    /// so when the item counts as taken, at any instant of a death.
    #[inline]
    pub(crate) fn take(&self) -> Option<u32> {
        #[cfg(loom)]
        if model::is(model::Broken::TwoSteps) {
            let seen = self.word.load(Ordering::Acquire);
            self.word.store(seen + 1, Ordering::Release);
            return (claimed(seen) < end(seen)).then_some(claimed(seen));
        }
        // Release: the result of the item before, and this one's start.
        let seen = self.word.fetch_add(1, Ordering::AcqRel);
        (claimed(seen) < end(seen)).then_some(claimed(seen))
    }

    /// Takes back all that has not been taken: it wants to run no more.
    pub(crate) fn close(&self) {
        self.recall(0);
    }
}

fn word(end: u32, claimed: u32) -> u64 {
    u64::from(end) << 32 | u64::from(claimed)
}

fn end(word: u64) -> u32 {
    (word >> 32) as u32
}

fn claimed(word: u64) -> u32 {
    word as u32
}

/// What a model leaves out.
#[cfg(loom)]
#[allow(missing_docs, missing_debug_implementations)]
pub(crate) mod model {
    use std::cell::Cell;

    /// A step that a model leaves out, to see itself fail.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Broken {
        No,
        /// The worker looks and then claims, in two steps.
        TwoSteps,
    }

    // All of a model's threads run on one of the system's.
    std::thread_local! {
        static BROKEN: Cell<Broken> = const { Cell::new(Broken::No) };
    }

    pub(crate) fn set(broken: Broken) {
        BROKEN.with(|cell| cell.set(broken));
    }

    pub(crate) fn is(broken: Broken) -> bool {
        BROKEN.with(Cell::get) == broken
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_stays_taken() {
        let gate = Gate::new();
        gate.open(5);
        assert_eq!(
            (gate.take(), gate.take(), gate.taken()),
            (Some(0), Some(1), 2)
        );
        assert_eq!(gate.recall(9), 5);
        assert_eq!(gate.recall(4), 4);
        assert_eq!((gate.take(), gate.taken()), (Some(2), 3));
        assert_eq!(gate.recall(0), 3);
        assert_eq!((gate.take(), gate.take(), gate.taken()), (None, None, 3));
        assert_eq!(gate.recall(0), 3, "what was refused was not taken");
        gate.open(2);
        assert_eq!((gate.take(), gate.taken()), (Some(0), 1));
        gate.close();
        assert_eq!((gate.take(), gate.taken(), gate.recall(0)), (None, 1, 1));
    }

    #[test]
    fn whatever_stands_there_is_within_bounds() {
        for wild in [u64::MAX, 1 << 32, 7, 0x4000_0003_ffff_fff0] {
            let gate = Gate::new();
            gate.scribble(wild);
            assert!(gate.taken() <= end(wild));
            assert!(gate.recall(0) <= end(wild));
        }
    }
}
