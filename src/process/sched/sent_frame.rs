//! A frame that was sent to a worker, and the gates that say how much of it has begun.
//!
//! Tests: `sched::sim`.

use std::sync::Arc;
use std::time::Instant;

use crate::process::payload::chunk::Piece;
use crate::sys::gate::{GATES, Gate};

/// A frame of unknown cost takes an hour.
pub(crate) const UNKNOWN_COST: u64 = 3_600_000_000_000;

/// Where a worker's gates are: in memory that it shares with its parent, or each side has its own.
pub(crate) trait Gated: Send + Sync {
    fn gate(&self, index: usize) -> &Gate;

    /// The worker says what it begins, and is asked for what it has not begun: it does not see
    /// these gates.
    fn are_told(&self) -> bool;
}

/// The gates of a plain worker: in the worker as they are, in its parent what it has said of them.
#[derive(Debug)]
pub(crate) struct ToldGates([Gate; GATES]);

impl ToldGates {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Gate::new()))
    }
}

impl Gated for ToldGates {
    fn gate(&self, index: usize) -> &Gate {
        &self.0[index % GATES]
    }

    fn are_told(&self) -> bool {
        true
    }
}

/// A frame that has been sent and whose `END` has not come.
pub(crate) struct SentFrame {
    pub(crate) sequence: u64,
    pub(crate) job: u64,
    /// Whose items these are, for the pace.
    pub(crate) function: u64,
    pub(crate) piece: Piece,
    /// How many results have come.
    pub(crate) done: u32,
    /// How many items it has, less those taken back.
    pub(crate) end: u32,
    /// How many nanoseconds it should take; [`UNKNOWN_COST`], if that is not known.
    pub(crate) cost: u64,
    /// The worker need not send what came before this frame before it begins with it.
    pub(crate) brief: bool,
    /// Its one item brings ends of channels along, or their context does.
    pub(crate) ends: bool,
    /// Its results are wanted; then it counts in `Job::frames`.
    pub(crate) wanted: bool,
    /// Each of its results is waited for by itself.
    pub(crate) each: bool,
    /// A plain worker was asked for what it has not begun: until when it should say how far it
    /// got.
    pub(crate) answer_by: Option<Instant>,
    /// It has, and `end` is that.
    pub(crate) answered: bool,
    /// When to see whether an item has run for longer than it may.
    pub(crate) check_at: Option<Instant>,
    /// The item whose time was up is to run again when the frame is over.
    pub(crate) again: Option<Piece>,
    pub(super) gates: Arc<dyn Gated>,
}

impl SentFrame {
    pub(crate) fn gate(&self) -> &Gate {
        self.gates.gate(self.sequence as usize % GATES)
    }

    /// The index in the job of the item whose result comes next.
    pub(crate) fn next_index(&self) -> usize {
        self.piece.first() + self.done as usize
    }

    /// How many items the worker has begun.
    pub(crate) fn begun(&self) -> u32 {
        self.gate().taken().clamp(self.done, self.end)
    }

    /// Something has begun, and its result has not come.
    pub(crate) fn runs(&self) -> bool {
        self.done < self.begun()
    }

    /// Its worker was asked for what it has not begun, and has not said how far it got.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.answer_by.is_some() && !self.answered && self.done < self.end
    }

    /// Takes back what has not begun, from item `from` on. (Not from a plain worker.)
    pub(crate) fn recall(&mut self, from: u32) -> Option<Piece> {
        if self.gates.are_told() {
            return None;
        }
        let end = self.gate().recall(from.max(self.done));
        let end = end.clamp(self.done, self.end); // a worker gone wild may write to its gates
        let before = std::mem::replace(&mut self.end, end);
        (end < before).then(|| self.piece.part(end as usize, before as usize))
    }
}
