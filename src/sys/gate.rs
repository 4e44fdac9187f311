//! The items of one frame: which of them have begun, and which are still to be had.
//!
//! **Job.** A worker begins the items of a frame one after the other; its parent may take back those that have not
//! begun. Every item is either begun or taken back, never both; and after a death, between any two
//! instructions, it can be told which have begun. To begin an item costs the worker no atomic operation, only a store
//! and a load, until somebody takes something back.
//!
//! ```text
//!   word      careful │ unfenced │ end (30 bits) │ claimed (32 bits)      both sides, by atomic operations
//!   at        how many items the worker has come to                       the worker's
//! ```
//!
//! **Protocol.**
//! 1. Parent: opens the gate with `end` items, before it sends the frame ([`Gate::open`]).
//! 2. Worker, for item `i`: stores `at = i + 1`, and then looks at `word` ([`Gate::take`]). A light fence (`fence`)
//!    stands between the two. Without `careful` the item has begun if it is below `end`.
//! 3. With `careful`, a compare-exchange on `word` decides: `claimed = i + 1`, if `i` is below `end` at that moment.
//! 4. Parent, to take back: sets `careful` and `unfenced`; has a heavy fence, and takes `unfenced` away; reads `at`;
//!    lowers `end`, by compare-exchange, to no less than `at` and `claimed` ([`Gate::recall`]).
//!    Where the heavy fence is refused nothing is taken back, and the next try begins with another. (An item that is out of
//!    time is then taken from its worker only with the worker's life: `process::sched`.)
//! 5. The worker itself, to run no more: the same without a fence, since what it reads is its own
//!    ([`Gate::close`]).
//! 6. Where the worker or its parent cannot have the fences, the gate is `careful` from the beginning.
//!
//! An item begun by 2. has not seen `careful`, so the parent's `at`, read behind the fences, counts it, and `end` stays
//! above it. An item that comes to its turn later sees `careful`, and 3. and 4. are operations on one word. An `at` that
//! counts an item which has not got through 3. keeps that item for the worker, unless an earlier recall
//! has lowered `end` already; `end` never rises.
//!
//! Beside these words: a flag that nobody wants what is left of the frame, the item that runs now
//! included; and, for frames whose items may not run for ever, when the last item started, stored before `at`, so that who
//! sees an item begun never sees an earlier start than its own.
//!
//! **Rejected.** One atomic addition for each item: it was 7.5 ns of the 17 that a tiny item costs its worker. To
//! claim many at a time: those that are claimed wait behind a long one.
//!
//! Tests: below; `checks/tests/process_models.rs` (under loom); `sys::ledger`; `sched::sim`.

use super::fence;
use crate::loom::atomic::{AtomicU64, Ordering};

/// Items begin by compare-exchange.
const CAREFUL: u64 = 1 << 63;
/// Somebody has set `CAREFUL` and had no heavy fence since.
const UNFENCED: u64 = 1 << 62;
const FLAGS: u64 = CAREFUL | UNFENCED;

/// The items of one frame.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Gate {
    word: AtomicU64,
    at: AtomicU64,
    unwanted: AtomicU64,
    started: AtomicU64,
}

impl Gate {
    /// A gate outside of any ledger: of a plain worker, as its parent sees it, and in simulations and models.
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            at: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            started: AtomicU64::new(0),
        }
    }

    /// What a worker gone wild may do.
    #[cfg(test)]
    pub(crate) fn scribble(&self, word: u64) {
        self.word.store(word, Ordering::Release);
        self.at.store(word, Ordering::Release);
        self.unwanted.store(word, Ordering::Release);
        self.started.store(word, Ordering::Release);
    }
}

/// The parent's side.
impl Gate {
    /// A frame of `count` items begins; `swift`: both sides have the fences. The message that carries the
    /// frame orders this before the worker's first `take`.
    pub(crate) fn open(&self, count: u32, swift: bool) {
        let careful = if swift { 0 } else { CAREFUL };
        self.unwanted.store(0, Ordering::Release);
        self.at.store(0, Ordering::Release);
        self.word
            .store(u64::from(count) << 32 & !FLAGS | careful, Ordering::Release);
    }

    /// Nobody wants what runs of this frame, or is left of it. Who tells
    /// the worker to look orders this before its look.
    pub(crate) fn disown(&self) {
        self.unwanted.store(1, Ordering::Release);
    }

    /// When the last item started; for who has just seen it taken.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// How many items have been taken.
    pub(crate) fn taken(&self) -> u32 {
        // In this order: what is taken meanwhile is counted or not, and never more than there is.
        let at = self.at.load(Ordering::Acquire);
        let word = self.word.load(Ordering::Acquire);
        reached(at).max(claimed(word)).min(end(word))
    }

    /// Takes back all items from `from` on that have not been taken.
    /// Returns the new end: `from`, or more if the worker is already past it.
    pub(crate) fn recall(&self, from: u32) -> u32 {
        let seen = self.word.load(Ordering::Acquire);
        if from >= end(seen) {
            return end(seen);
        }
        let mut seen = seen;
        if seen & CAREFUL == 0 {
            seen = self.word.fetch_or(FLAGS, Ordering::AcqRel) | FLAGS;
        }
        if seen & UNFENCED != 0 {
            // Pairs with the light one in `take`.
            if !fence::heavy() {
                return end(seen);
            }
            seen = self.word.fetch_and(!UNFENCED, Ordering::AcqRel) & !UNFENCED;
        }
        self.lower(from, seen)
    }

    /// Lowers the end to `from`, or to where the worker is. `CAREFUL` is set, and fenced.
    fn lower(&self, from: u32, mut seen: u64) -> u32 {
        let reached = reached(self.at.load(Ordering::Acquire));
        loop {
            let before = end(seen);
            let new = from.max(reached).max(claimed(seen)).min(before);
            if new == before {
                return before;
            }
            let word = seen & FLAGS | u64::from(new) << 32 | u64::from(claimed(seen));
            match self
                .word
                .compare_exchange_weak(seen, word, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return new,
                Err(now) => seen = now,
            }
        }
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
        let next = self.at.load(Ordering::Relaxed) as u32; // nobody else writes it
        // Release: the result of the item before, and this one's start.
        self.at.store(u64::from(next) + 1, Ordering::Release);
        fence::light();
        let word = self.word.load(Ordering::Acquire);
        if word & CAREFUL != 0 && !self.is_careless() {
            return self.claim(next, word);
        }
        (next < end(word)).then_some(next)
    }

    /// Takes the item `next`, if it is to be had.
    #[cold]
    fn claim(&self, next: u32, mut seen: u64) -> Option<u32> {
        while next < end(seen) {
            let word = seen & !u64::from(u32::MAX) | u64::from(next + 1);
            match self
                .word
                .compare_exchange_weak(seen, word, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Takes back all that has not been taken: it wants to run no more.
    pub(crate) fn close(&self) {
        let seen = self.word.fetch_or(CAREFUL, Ordering::AcqRel) | CAREFUL;
        self.lower(0, seen);
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn is_careless(&self) -> bool {
        false
    }

    /// A model leaves the third step out.
    #[cfg(loom)]
    fn is_careless(&self) -> bool {
        model::is(model::Broken::NoClaims)
    }
}

fn end(word: u64) -> u32 {
    ((word & !FLAGS) >> 32) as u32
}

fn claimed(word: u64) -> u32 {
    word as u32
}

fn reached(at: u64) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
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
        /// Neither side has a fence between what it writes and what it looks at.
        NoFences,
        /// The worker begins items by itself although somebody takes them back.
        NoClaims,
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
        for swift in [true, false] {
            let gate = Gate::new();
            gate.open(5, swift && fence::reaches());
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
            gate.open(2, swift && fence::reaches());
            assert_eq!((gate.take(), gate.taken()), (Some(0), 1));
            gate.close();
            assert_eq!((gate.take(), gate.taken(), gate.recall(0)), (None, 1, 1));
        }
    }

    #[test]
    fn whatever_stands_there_is_within_bounds() {
        for wild in [u64::MAX, FLAGS, 1 << 32, 7, 0x4000_0003_ffff_fff0] {
            let gate = Gate::new();
            gate.scribble(wild);
            assert!(gate.taken() <= end(wild));
            assert!(gate.recall(0) <= end(wild));
        }
    }
}
