//! The items of a call with `retry_alone` that have died out of memory.
//!
//! Their further attempts run while nothing else runs in the pool, so they do not wait with the
//! other items of the job (`sched::rules::alone`).
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/alone.rs`.

use std::collections::{HashSet, VecDeque};

use crate::process::value::chunk::Piece;

#[derive(Debug, Default)]
pub(crate) struct Alone {
    /// The indices of all such items.
    pub(super) items: HashSet<usize>,
    /// Those that wait, each in a piece of its own.
    pub(super) waiting: VecDeque<Piece>,
}

impl Alone {
    /// Whether the item at `index` is one of them.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.items.contains(&index)
    }

    /// Whether an item waits.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes out the item that has waited longest.
    pub(crate) fn take(&mut self) -> Option<Piece> {
        self.waiting.pop_front()
    }
}
