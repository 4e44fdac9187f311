//! What a caller may do in the driver's place, and how it learns what is left to do
//! (`parent::client`).
//!
//! Tests: `src/process/sched/simulated/sim_calls.rs`, `tests/process/callers.rs`.

use crate::process::job::job_id::JobId;
use std::time::Instant;

use super::sent_frame::SentFrame;
use super::state::Sched;
use super::{due, place};
use crate::process::job::reading::Chore;
use crate::process::job::slot_id::SlotId;

impl Sched {
    /// Whether nothing is due, so that work can be dispatched as usual.
    pub(crate) fn nothing_is_due(&self, now: Instant) -> bool {
        !is_ending(self) && due::next_due(self).is_none_or(|(at, _)| at > now)
    }

    /// Whether something is left that only the driver may do, besides what is due.
    pub(crate) fn leaves_work(&self) -> bool {
        is_ending(self) || !self.actions.is_empty() || !self.chores.is_empty()
    }

    /// Takes the chores of the job `id` that its caller may carry out.
    pub(crate) fn chores_of(&mut self, id: JobId) -> Vec<Chore> {
        let own = |chore: &mut Chore| chore.caller() == Some(id);
        self.chores.extract_if(.., own).collect()
    }

    /// Dispatches work, and does nothing else of what `tick` does, so no task can end. False: one
    /// must end first, because its time is over.
    pub(crate) fn dispatch_work(&mut self, now: Instant) -> bool {
        self.now = now;
        if due::ends_a_job(self) {
            return false;
        }
        place::dispatch(self);
        self.count_busy();
        true
    }

    /// The worker that has an item of the job `id` and nothing else.
    pub(crate) fn sole(&self, id: JobId) -> Option<SlotId> {
        let is_it = |frame: &SentFrame| frame.job == id && frame.wanted;
        self.workers
            .find(|worker| worker.frames.sole().is_some_and(is_it))
    }

    /// The job of the only frame that `worker` has, if that is wanted.
    pub(crate) fn sole_of(&self, worker: SlotId) -> Option<JobId> {
        let only = self.workers[worker].frames.sole()?;
        only.wanted.then_some(only.job)
    }

    /// Whether the only record that `worker` can still send is the end of its frame.
    pub(crate) fn only_ends(&self, worker: SlotId) -> bool {
        let only = self.workers[worker].frames.sole();
        only.is_some_and(|frame| frame.done == frame.end)
    }
}

/// Whether the pool ends or has broken down, which only the driver handles.
fn is_ending(sched: &Sched) -> bool {
    sched.stop.is_some() || sched.broken.is_some()
}
