//! Items that pause before a retry. (Whether one is retried: `Job::attempted`.)
//!
//! An item whose worker died goes back to the front of the job, if it may be retried, perhaps after
//! a pause that doubles each time; its job goes before the others of its priority. Its time limit
//! begins anew (`sched::timeouts`); the one of `within` does not.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use super::finish;
use super::policy::FOR_EVER;
use super::state::Sched;
use crate::process::job::job_id::JobId;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

/// Queues an item for a retry, after a pause if it has one.
pub(super) fn run_again(sched: &mut Sched, id: JobId, piece: Piece) {
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    let pause = job.pause(piece.first()).min(FOR_EVER);
    sched.counters.stats.lock().retried += 1;
    sched.jobs.pause(id, piece, sched.now + pause);
    if sched.is_stopped() {
        finish::fail_waiting(sched, id, &TaskError::Cancelled);
    } else if pause.is_zero() {
        end_pauses(sched);
    }
}

/// Queues the items whose pause is over.
pub(super) fn end_pauses(sched: &mut Sched) {
    for id in sched.jobs.resume(sched.now) {
        sched.jobs.enqueue(id, true, sched.now);
        finish::end_or_queue(sched, id);
    }
}
