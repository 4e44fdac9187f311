//! What the rules know from one event to the next.

use std::collections::{HashMap, VecDeque};

use super::item_times::ItemTimes;

/// What the rules know.
#[derive(Default)]
pub(crate) struct Rules {
    /// Jobs with items that wait to run alone (`alone`).
    pub(crate) alone: VecDeque<u64>,
    /// Jobs with waiting items that wait for memory, in the order of the queue (`memory`).
    pub(super) wait_for_memory: Vec<u64>,
    /// The calls with copies, by job (`hedge`).
    pub(super) times: HashMap<u64, ItemTimes>,
    /// Empty slots from this index on are left empty (`elastic`).
    pub(crate) slots_end: usize,
    /// In an elastic pool: work has waited for long behind what the workers do.
    pub(crate) lags: bool,
}

impl Rules {
    /// Of a pool with so many slots.
    pub(crate) fn new(slots_end: usize) -> Self {
        Self {
            slots_end,
            ..Self::default()
        }
    }

    /// Whether a job waits that is not in the queue.
    pub(crate) fn hold_jobs(&self) -> bool {
        !(self.wait_for_memory.is_empty() && self.alone.is_empty())
    }

    /// The job `id`, which must wait, has left the queue.
    pub(crate) fn hold(&mut self, id: u64) {
        self.wait_for_memory.push(id);
    }
}
