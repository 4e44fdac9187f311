//! Items that run while nothing else runs in the pool (`ProcessCall::retry_alone`).
//!
//! **Protocol.** 1. An item of such a call dies out of memory. Its next attempt waits in its job
//! apart from the other items, and the job is in `Rules::alone`. 2. From now on no
//! worker gets an item, and what the workers have not begun is taken back. 3. When none of them
//! runs an item any more, wanted or not, an idle one gets the item, and no other gets anything
//! until that worker has ended it or is gone. (Initializers of new workers are no items.)
//!
//! It needs no place in the budget of memory, of which nothing is taken then.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/alone.rs`.

use std::time::Instant;

use crate::process::sched::Sched;
use crate::process::sched::sent_frame::SentFrame;
use crate::process::sched::workers::{INITIALIZE, Worker};

impl Sched {
    /// While an item waits to run alone, takes back what has not begun.
    pub(crate) fn take_back_for_lone(&mut self, now: Instant) {
        let runs_alone = self.workers.iter().any(runs_alone);
        if !self.rules.alone.is_empty() && !runs_alone {
            for index in 0..self.workers.len() {
                self.take_all_back(index, now);
            }
        }
    }

    /// Sends the next item that must run alone, if nothing runs. Returns whether no other item may
    /// begin now.
    pub(super) fn run_alone(&mut self, now: Instant) -> bool {
        if self.workers.iter().any(runs_alone) {
            return true;
        }
        let jobs = &self.jobs;
        self.rules
            .alone
            .retain(|id| jobs.get(id).is_some_and(|job| job.has_lone_item()));
        let Some(&id) = self.rules.alone.front() else {
            return false;
        };
        let has_items = |frame: &SentFrame| frame.end > 0 && frame.job != INITIALIZE;
        let runs = |worker: &Worker| worker.frames.iter().any(has_items);
        if self.workers.iter().any(runs) {
            return true;
        }
        if let Some(idle) = self.idle_for(id, now)
            && let Some(job) = self.jobs.get_mut(&id)
            && let Some(piece) = job.cut_lone_item()
        {
            let function = job.work.code.function;
            let item_cost = self.item_cost(function);
            self.send_items(idle, id, piece, item_cost, now);
        }
        true
    }
}

/// Whether the worker has an item that runs alone. (It got that when it was idle, and nothing is
/// sent behind it.)
fn runs_alone(worker: &Worker) -> bool {
    let front = worker.frames.front();
    front.is_some_and(|frame| frame.marks.alone && frame.end > 0)
}
