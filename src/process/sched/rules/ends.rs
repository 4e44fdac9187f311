//! How an item with ends of channels is sent, and when its ends are closed.
//!
//! An item with ends goes alone, to an idle worker (W25); so does a frame whose context has ends,
//! which is forgotten before the worker gets a frame of another job. When the worker has decoded
//! such an item, our copies of its ends are closed (W26). A worker that does not read a frame with
//! ends that was taken back is killed, because it closes them when it reads that.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/channel.rs`.

use crate::process::job::job_id::{INITIALIZE, JobId};
use std::time::Instant;

use crate::process::job::slot_id::SlotId;
use crate::process::limits::ENDS_LIMIT;
use crate::process::sched::sent_frame::SentFrame;
use crate::process::sched::state::Sched;
use crate::process::wire::Frame;

/// Until when a worker must have read a frame with ends whose items were all taken back: it closes
/// the ends then, and other processes wait for that.
pub(in crate::process::sched) fn close_by(frame: &SentFrame, now: Instant) -> Option<Instant> {
    (frame.goes_alone && frame.end == 0).then(|| now + ENDS_LIMIT)
}

/// Makes a worker that will run an item of `job` forget other jobs' contexts with ends of
/// channels.
pub(in crate::process::sched) fn forget_ends(sched: &mut Sched, slot: SlotId, job: JobId) {
    let jobs = &sched.jobs;
    let foreign = |id: JobId| {
        let context = jobs.get(id).and_then(|job| job.work.context());
        id != job && context.is_some_and(|context| context.piece.has_ends())
    };
    for id in sched.workers[slot].forgets_contexts(foreign) {
        sched.send_message(slot, &Frame::Forget { id: id.number() });
    }
}

/// The worker has opened the ends of its item, so the copies here are closed (W26).
pub(in crate::process::sched) fn opened(sched: &Sched, slot: SlotId) {
    let Some(frame) = sched.workers[slot].frames.front() else {
        return;
    };
    // Only the gate says whether the item may be sent again (W3). An initializer's argument is
    // sent to each worker.
    let job = sched.jobs.get(frame.job);
    let kept = job.is_some_and(|job| job.work.options.retry > 0);
    if !kept && frame.job != INITIALIZE && frame.begun() == frame.end {
        frame.piece.release();
    }
}
