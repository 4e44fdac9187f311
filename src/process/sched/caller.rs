//! What a caller may do in the driver's place, and how it learns what is left to do
//! (`parent::client`).
//!
//! Tests: `src/process/sched/simulated/sim_calls.rs`, `tests/process/callers.rs`.

use crate::process::job::job_id::JobId;
use std::time::Instant;

use super::sent_frame::SentFrame;
use super::slot_id::SlotId;
use super::state::Sched;
use super::{due, place};
use crate::process::job::reading::Chore;

/// Whether nothing is due, so that work can be dispatched as usual.
pub(super) fn nothing_is_due(sched: &Sched, now: Instant) -> bool {
    !is_ending(sched) && due::next_due(sched).is_none_or(|(at, _)| at > now)
}

/// Whether the pool ends or has broken down, which only the driver handles.
fn is_ending(sched: &Sched) -> bool {
    sched.stop.is_some() || sched.broken.is_some()
}

/// Whether something is left that only the driver may do, besides what is due.
pub(super) fn leaves_work(sched: &Sched) -> bool {
    is_ending(sched) || !sched.actions.is_empty() || !sched.chores.is_empty()
}

/// Takes the chores of the job `id` that its caller may carry out.
pub(super) fn chores_of(sched: &mut Sched, id: JobId) -> Vec<Chore> {
    let own = |chore: &mut Chore| chore.caller() == Some(id);
    sched.chores.extract_if(.., own).collect()
}

/// Dispatches work, and does nothing else of what `tick` does, so no task can end. False: one must
/// end first, because its time is over.
pub(super) fn dispatch_work(sched: &mut Sched) -> bool {
    if sched.jobs.next_end().is_some_and(|(at, _)| at <= sched.now) {
        return false;
    }
    place::dispatch(sched);
    sched.count_busy();
    true
}

/// The worker that has an item of the job `id` and nothing else.
pub(super) fn sole(sched: &Sched, id: JobId) -> Option<SlotId> {
    let is_it = |frame: &SentFrame| frame.job == id && frame.wanted;
    sched
        .workers
        .find(|worker| worker.frames.sole().is_some_and(is_it))
}

/// The job of the only frame that `worker` has, if that is wanted.
pub(super) fn sole_of(sched: &Sched, worker: SlotId) -> Option<JobId> {
    let only = sched.workers[worker].frames.sole()?;
    only.wanted.then_some(only.job)
}

/// Whether the only record that `worker` can still send is the end of its frame.
pub(super) fn only_ends(sched: &Sched, worker: SlotId) -> bool {
    let only = sched.workers[worker].frames.sole();
    only.is_some_and(|frame| frame.done == frame.end)
}
