//! The gate of a frame: which of its items have begun, and which can still be taken back.
//!
//! **Job.** A worker begins the items of a frame in turn; its parent may take back
//! those that have not begun. Every item is either begun or taken back, never both. If the worker
//! dies, between whichever two instructions, the gate still says which have begun.
//!
//! ```text
//!   word      end (32 bits) │ claimed (32 bits)
//! ```
//!
//! **Protocol.** The order of atomic operations on one word decides everything.
//! 1. The parent opens the gate with `end` items, before it sends the frame ([`Gate::open`]).
//! 2. The worker adds one to `claimed` ([`Gate::pass`]). The item has begun if it was below `end`
//!    in that step; else there are no more, and `claimed` means nothing past `end`.
//! 3. To take items back, the parent lowers `end`, to no less than `claimed` ([`Gate::recall`]). So
//!    does the worker, to run no more. `end` never rises.
//!
//! Besides this word there is a flag: the rest of the frame, including the running item, is not
//! wanted any more; and, for frames whose items have a time limit, when the latest item started.
//! That time is stored before the item is claimed, so a reader that sees an item as begun never
//! sees the start of an earlier one.
//!
//! A worker that reports a panic (`std` may look up the names of a backtrace, for seconds) notes
//! how long that takes: so much longer the running item may take, up to [`MOST_REPORTING`].
//!
//! **A worker that overwrites it.** An item may write anything here, even that it has not
//! begun. So the parent puts a random number into the gate when it opens it, the *seal*, and the
//! worker erases that after it has taken the first item and before that item's code runs: the item
//! cannot put back what it has never seen. A frame whose seal is broken has begun, whatever the
//! word says. This protects against the item itself, and not against what an earlier item has left
//! in the same worker: a thread that reads the seal before the worker erases it can put it back. A
//! plain worker shares no gate. The parent also remembers what it has once seen to have begun, and
//! how long it has seen it (`process::sched::sent_frame`). Every other lie costs the liar's own
//! frame: what it has is reduced to what it was sent.
//!
//! Rejected: claiming many items at a time, because the claimed ones may wait behind a long one;
//! beginning an item without an atomic operation (`docs/internals/decisions/ledger.md`).
//!
//! Tests: below; `tests/trefoil-checks/tests/process_models.rs` (under loom); `pages::raw_ledger`;
//! `src/process/sched/simulated.rs`.

use std::time::Duration;

use crate::loom::atomic::{AtomicU64, Ordering, fence};

/// How many frames a worker can have at once: the number of gates.
pub(crate) const GATES: usize = 64;

/// The gate of one frame.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Gate {
    word: AtomicU64,
    unwanted: AtomicU64,
    started: AtomicU64,
    seal: AtomicU64,
    /// The number of an item in the frame, from 1 (32 bits) │ the milliseconds for which it has
    /// reported panics (32 bits), or `MOST_REPORTING` while it does.
    reporting: AtomicU64,
}

/// For how long the report of a panic may be at most that does not count as its item's time.
pub(crate) const MOST_REPORTING: Duration = Duration::from_secs(10);

impl Gate {
    /// Writes `word` into the gate, as a misbehaving worker may: for tests of what a parent reads.
    #[cfg(test)]
    pub(crate) fn scribble(&self, word: u64) {
        self.word.store(word, Ordering::Release);
        self.unwanted.store(word, Ordering::Release);
        self.started.store(word, Ordering::Release);
    }

    /// Writes that nothing was taken, as a misbehaving item may.
    #[cfg(test)]
    pub(crate) fn deny(&self) {
        let end = end(self.word.load(Ordering::Acquire));
        self.word.store(word(end, 0), Ordering::Release);
    }
}

/// The calls of the parent.
impl Gate {
    /// Opens the gate for a frame of `count` items. The message that carries the frame orders this
    /// before the worker's first `pass`. The `seal` is not 0.
    #[inline]
    pub(crate) fn open(&self, count: u32, seal: u64) {
        self.unwanted.store(0, Ordering::Release);
        self.reporting.store(0, Ordering::Release);
        self.seal.store(seal, Ordering::Release);
        self.word.store(word(count, 0), Ordering::Release);
    }

    /// Marks the running item and the rest of this frame as unwanted. The message that makes the
    /// worker look orders this before its look.
    #[inline]
    pub(crate) fn disown(&self) {
        self.unwanted.store(1, Ordering::Release);
    }

    /// When the latest item started. The caller has just seen that item taken.
    #[inline]
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Acquire)
    }

    /// For how long the item with this number (from 1) has reported panics; [`MOST_REPORTING`]
    /// while it does.
    #[inline]
    pub(crate) fn reported(&self, item: u32) -> Duration {
        let word = self.reporting.load(Ordering::Acquire);
        if end(word) == item && item > 0 {
            Duration::from_millis(claimed(word).into()).min(MOST_REPORTING)
        } else {
            Duration::ZERO
        }
    }

    /// How many items have been taken, of a frame that was opened with this `seal`.
    #[inline]
    pub(crate) fn taken(&self, seal: u64) -> u32 {
        let word = self.word.load(Ordering::Acquire);
        claimed(word).min(end(word)).max(self.least(seal))
    }

    /// Takes back all items from `from` on that have not been taken.
    /// Returns the new end: `from`, or more if the worker is already past it.
    #[inline]
    pub(crate) fn recall(&self, from: u32, seal: u64) -> u32 {
        self.lower(from).max(self.least(seal))
    }

    /// How many items have been taken at least: one, if the seal is broken.
    #[inline]
    fn least(&self, seal: u64) -> u32 {
        u32::from(self.seal.load(Ordering::Acquire) != seal)
    }
}

impl Gate {
    /// Lowers the end to `from`, or to what has been taken. Returns the new end.
    #[inline]
    fn lower(&self, from: u32) -> u32 {
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

/// The calls of the worker.
impl Gate {
    /// Whether the frame is unwanted: see [`disown`](Self::disown).
    #[inline]
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Acquire) != 0
    }

    /// Records that the next item starts at this time. Called before `pass`.
    #[inline]
    pub(crate) fn starts(&self, time: u64) {
        self.started.store(time, Ordering::Release);
    }

    /// The number of the latest item that was taken.
    #[inline]
    pub(crate) fn running(&self) -> u32 {
        claimed(self.word.load(Ordering::Acquire))
    }

    /// The item with this number has reported panics for so long, or does
    /// ([`MOST_REPORTING`]).
    pub(crate) fn reports(&self, item: u32, time: Duration) {
        let millis = time.min(MOST_REPORTING).as_millis() as u32;
        self.reporting.store(word(item, millis), Ordering::Release);
    }

    /// Takes the next item; `None` if there is no more. At whichever instant the worker dies: if
    /// the item counts as taken, everything that was written before is visible.
    #[inline]
    pub(crate) fn pass(&self) -> Option<u32> {
        #[cfg(loom)]
        if model::is(model::Broken::TwoSteps) {
            let seen = self.word.load(Ordering::Acquire);
            self.word.store(seen + 1, Ordering::Release);
            return (claimed(seen) < end(seen)).then_some(claimed(seen));
        }
        // Release: publishes the previous item's result, and this item's start.
        let seen = self.word.fetch_add(1, Ordering::AcqRel);
        let item = (claimed(seen) < end(seen)).then_some(claimed(seen))?;
        if item == 0 {
            self.seal.store(0, Ordering::Relaxed);
            fence(Ordering::Release); // whatever the item writes to the word comes after this
        }
        Some(item)
    }

    /// Takes back all items that have not been taken, because the worker is to run no more.
    /// Returns how many have been taken.
    #[inline]
    pub(crate) fn close(&self) -> u32 {
        self.lower(0)
    }
}

#[inline]
fn word(end: u32, claimed: u32) -> u64 {
    u64::from(end) << 32 | u64::from(claimed)
}

#[inline]
fn end(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline]
fn claimed(word: u64) -> u32 {
    word as u32
}

/// Faults for the models to find.
#[cfg(loom)]
#[allow(missing_docs, missing_debug_implementations)]
pub(crate) mod model {
    use std::cell::Cell;

    /// A fault that makes a model fail.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub enum Broken {
        No,
        /// The worker looks and then claims, in two steps.
        TwoSteps,
    }

    // loom runs all threads of a model on one system thread.
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
        let gate = Gate::default();
        gate.open(5, 9);
        assert_eq!(
            (gate.pass(), gate.pass(), gate.taken(9)),
            (Some(0), Some(1), 2)
        );
        assert_eq!(gate.recall(9, 9), 5);
        assert_eq!(gate.recall(4, 9), 4);
        assert_eq!((gate.pass(), gate.taken(9)), (Some(2), 3));
        assert_eq!(gate.recall(0, 9), 3);
        assert_eq!((gate.pass(), gate.pass(), gate.taken(9)), (None, None, 3));
        assert_eq!(gate.recall(0, 9), 3, "what was refused was not taken");
        gate.open(2, 9);
        assert_eq!((gate.pass(), gate.taken(9)), (Some(0), 1));
        assert_eq!(gate.close(), 1);
        assert_eq!(
            (gate.pass(), gate.taken(9), gate.recall(0, 9)),
            (None, 1, 1)
        );
    }

    #[test]
    fn what_has_begun_cannot_be_denied() {
        let gate = Gate::default();
        gate.open(1, 9);
        assert_eq!((gate.pass(), gate.taken(9)), (Some(0), 1));
        gate.deny();
        assert_eq!((gate.taken(9), gate.recall(0, 9)), (1, 1));
        // What was taken back before it had begun has not, and the next frame is another.
        gate.open(1, 7);
        assert_eq!((gate.recall(0, 7), gate.pass()), (0, None));
        assert_eq!(gate.taken(7), 0);
    }

    #[test]
    fn whatever_stands_there_is_within_bounds() {
        for wild in [u64::MAX, 1 << 32, 7, 0x4000_0003_ffff_fff0] {
            let gate = Gate::default();
            gate.scribble(wild);
            assert!(gate.taken(0) <= end(wild));
            assert!(gate.recall(0, 0) <= end(wild));
        }
    }
}
