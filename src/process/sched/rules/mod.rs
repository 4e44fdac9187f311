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
use std::time::Instant;

use super::sent_frame::SentFrame;
use super::slot_id::SlotId;
use super::state::Sched;
use super::workers::Worker;
use crate::process::job::Job;
use crate::process::limits::FRAME_BYTES;
use crate::process::value::chunk::Piece;
use crate::task::WorkerExit;

pub(super) use self::elastic::{
    is_hopeless, send_surplus_away, set_workers, shrink, shrinks_at, size, wanted_from,
};

/// Whether these items of a job go alone, to an idle worker.
pub(super) fn go_alone(job: &Job, items: Option<&Piece>) -> bool {
    job.has_ends(items)
}

/// Whether the next item of a job is large for this worker, with what it must be sent before.
pub(super) fn is_heavy(worker: &Worker, id: JobId, job: &Job) -> bool {
    job.is_heavy(contexts::has(worker, id), FRAME_BYTES)
}

/// A worker is about to get a frame of the job `id`.
pub(super) fn before_frame(sched: &mut Sched, slot: SlotId, id: JobId) {
    ends::forget_ends(sched, slot, id);
    contexts::send_context(sched, slot, id);
}

/// The number of the context that belongs to a frame of the job `id`; 0: none.
pub(super) fn context_of(worker: &Worker, id: JobId) -> u64 {
    if contexts::has(worker, id) {
        id.number()
    } else {
        0
    }
}

/// A worker has opened what came with its item.
pub(super) fn opened(sched: &Sched, slot: SlotId) {
    ends::on_taken(sched, slot);
}

/// Until when a worker must have read a frame whose items were all taken back.
pub(super) fn close_by(frame: &SentFrame, now: Instant) -> Option<Instant> {
    ends::close_by(frame, now)
}

/// A job has ended.
pub(super) fn after_job(sched: &mut Sched, id: JobId, job: &Job) {
    if job.work.context().is_some() {
        contexts::forget_context(sched, id);
    }
}

/// Whether a death shows nothing of the program, so that another worker is started soon.
pub(super) fn shows_nothing(sched: &Sched, exit: &WorkerExit) -> bool {
    elastic::shows_nothing(sched, exit)
}
