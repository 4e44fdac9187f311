//! What the rules know from one event to the next, and what they remember of a frame.

use std::collections::VecDeque;

use crate::process::job::Job;
use crate::process::value::chunk::Piece;

/// What the rules know.
#[derive(Default)]
pub(crate) struct Rules {
    /// Jobs with items that wait to run alone (`alone`).
    pub(crate) alone: VecDeque<u64>,
    /// Jobs with waiting items that wait for memory, in the order of the queue (`memory`).
    pub(super) wait_for_memory: Vec<u64>,
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

/// What the rules remember of a frame that was sent. Nobody else looks at it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Marks {
    /// Its one item runs while nothing else does (`alone`).
    pub(crate) alone: bool,
    /// Its one item, or the context, has ends of channels (`ends`).
    pub(crate) ends: bool,
    /// How many bytes its one item declares to need (`memory`).
    pub(crate) memory: u64,
}

impl Marks {
    /// Of a frame with these items of `job`.
    pub(crate) fn of(job: &Job, items: &Piece) -> Self {
        let options = &job.work.options;
        Self {
            alone: job.is_lone(items.first()),
            ends: job.has_ends(Some(items)),
            memory: options.memory,
        }
    }

    /// Whether earlier results are sent before it begins.
    pub(crate) fn is_apart(self) -> bool {
        self.ends
    }
}
