//! Rules of single features, and the moments at which the scheduler asks them.
//!
//! | moment | who asks | rules |
//! |---|---|---|
//! | [`go_alone`], [`is_heavy`]: may an item be queued behind another? | `place` | `ends`, `contexts` |
//! | [`before_frame`], [`context_of`]: a worker is about to get a frame | `place`, `send` | `ends`, `contexts` |
//! | [`opened`]: a worker has opened what came with its item | `replies` | `ends` |
//! | [`close_by`]: a frame's items were all taken back | `cancel` | `ends` |
//! | [`after_job`]: a job has ended | `finish` | `contexts` |
//! | [`wanted_from`], [`shrinks_at`], [`shrink`]: how many workers there are | `due` | `elastic` |
//! | [`send_surplus_away`]: a worker says hello, or is ready | `start` | `elastic` |
//! | [`shows_nothing`], [`is_hopeless`]: a worker has died | `deaths` | `elastic` |
//!
//! The scheduler knows no rule by its name: these functions are all that it calls.

mod contexts;
mod elastic;
mod ends;

use crate::process::job::job_id::JobId;

use super::state::Sched;
use super::workers::Worker;
use crate::process::job::Job;
use crate::process::job::slot_id::SlotId;
use crate::process::limits::FRAME_BYTES;
use crate::process::value::chunk::Piece;

pub(super) use self::elastic::{
    is_hopeless, send_surplus_away, shows_nothing, shrink, shrinks_at, size, wanted_from,
};
pub(super) use self::ends::{close_by, opened};

/// Whether these items of a job go alone, to an idle worker.
pub(super) fn go_alone(job: &Job, items: Option<&Piece>) -> bool {
    job.has_ends(items)
}

/// Whether the next item of a job is large for this worker, with what it must be sent before.
pub(super) fn is_heavy(worker: &Worker, id: JobId, job: &Job) -> bool {
    job.is_heavy(worker.has_context(id), FRAME_BYTES)
}

/// A worker is about to get a frame of the job `id`.
pub(super) fn before_frame(sched: &mut Sched, slot: SlotId, id: JobId) {
    ends::forget_ends(sched, slot, id);
    contexts::send_context(sched, slot, id);
}

/// The number of the context that belongs to a frame of the job `id`; 0: none.
pub(super) fn context_of(worker: &Worker, id: JobId) -> u64 {
    if worker.has_context(id) {
        id.number()
    } else {
        0
    }
}

/// A job has ended.
pub(super) fn after_job(sched: &mut Sched, id: JobId, job: &Job) {
    if job.work.context().is_some() {
        contexts::forget_context(sched, id);
    }
}
