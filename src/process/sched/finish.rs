//! When an item and its job end, and on which thread the task of the job is completed.
//!
//! A job ends when everything that matters of it has ended. The driver completes it here, unless
//! values have to be dropped with it that are not quick to drop (`Job::holds`): then another thread
//! does ([`Chore::Finish`]), and so does the thread that has decoded the last values.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/callers.rs`.

use std::time::Instant;

use super::state::Sched;
use super::{cancel, failed_items, rules};
use crate::process::job::Job;
use crate::process::job::item_id::ItemId;
use crate::process::job::job_id::JobId;
use crate::process::job::reading::{Chore, DecodedPart, Reading};
use crate::process::job::results::Values;
use crate::process::job::slot_id::SlotId;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

impl Sched {
    /// The error of an item is complete, as far as possible. Returns a job that this thread must
    /// end.
    pub(crate) fn reported(
        &mut self,
        item: ItemId,
        error: TaskError,
        now: Instant,
    ) -> Option<Box<Job>> {
        self.now = now;
        if let Some(job) = self.jobs.get_mut(item.job) {
            job.has_failed_at(item.at);
        }
        self.hands_over = true;
        item_ends(self, item, error);
        end_or_queue(self, item.job);
        self.hands_over = false;
        self.for_thread.take()
    }

    /// Some values of `reading` have been decoded. Returns values that are not wanted, and a job
    /// that the decoding thread must end.
    pub(crate) fn decoded(
        &mut self,
        reading: &Reading,
        part: DecodedPart,
        now: Instant,
    ) -> (Option<Values>, Option<Box<Job>>) {
        self.now = now;
        let id = reading.job;
        if let Some(job) = self.jobs.get_mut(id).filter(|_| reading.is_over()) {
            job.has_read(reading.first);
        }
        self.hands_over = true;
        let unwanted = add_values(self, id, part, reading.piece.clone());
        end_or_queue(self, id);
        self.hands_over = false;
        (unwanted, self.for_thread.take())
    }

    /// For the thread that carries out a `Chore::Finish`: the job, if it has not ended since.
    pub(crate) fn finished(&mut self, id: JobId) -> Option<Box<Job>> {
        self.jobs.get_mut(id)?.hand_over(false);
        self.hands_over = true;
        end_or_queue(self, id);
        self.hands_over = false;
        self.for_thread.take()
    }
}

/// Passes decoded values to their job, and the error if the last could not be decoded. A caller
/// that takes one of them finds it counted in `stats`. Returns values that are not wanted.
/// `piece`: the items of their frame, if a hook gets those that fail.
pub(super) fn add_values(
    sched: &mut Sched,
    id: JobId,
    part: DecodedPart,
    piece: Option<Piece>,
) -> Option<Values> {
    let Some(job) = sched.jobs.get(id) else {
        // The payload of a panic while it was decoded may have a destructor, too.
        return Some(Box::new((part.values, part.taken.error)));
    };
    let count = part.taken.count - usize::from(part.taken.error.is_some());
    sched.counters.count(count as u64, 0);
    if job.work.each {
        sched.count_busy();
    }
    let job = sched.jobs.get_mut(id)?;
    job.answer(count as u64);
    let unwanted = if count > 0 && part.first < job.limit() {
        job.work.sink.put(part.first, part.values)
    } else {
        Some(part.values)
    };
    if let Some(error) = part.taken.error {
        let at = part.first + count;
        item_error(sched, ItemId { job: id, at }, error, piece);
    }
    unwanted
}

/// An item has ended in `error`, by itself. `piece`: the items of its frame, if a hook may get it.
pub(super) fn item_error(sched: &mut Sched, item: ItemId, error: TaskError, piece: Option<Piece>) {
    if let Some(error) = failed_items::report(sched, item, error, piece) {
        item_ends(sched, item, error);
    }
}

/// The same, without a hook.
pub(super) fn item_ends(sched: &mut Sched, item: ItemId, error: TaskError) {
    let ItemId { job: id, at } = item;
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    sched.counters.count(0, 1);
    let error = job.error_of(at, error);
    if !job.work.each {
        job.pending = job.pending.saturating_sub(1);
        return fail(sched, id, at, error);
    }
    job.answer(1);
    sched.count_busy();
    if let Some(job) = sched.jobs.get_mut(id) {
        job.work.sink.error(at, error);
    }
}

/// The item at `at` has ended in `error`: items after it do not matter any more, and those that
/// run are cancelled.
pub(super) fn fail(sched: &mut Sched, id: JobId, at: usize, error: TaskError) {
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    if job.fail(at, error) && job.wanted_frames > 0 {
        for slot in sched.workers.ids() {
            for position in 0..sched.workers[slot].frames.len() {
                let worker = &mut sched.workers[slot];
                let frame = &worker.frames[position];
                if frame.job == id && frame.wanted {
                    let keep = at.saturating_sub(frame.piece.first());
                    let keep = u32::try_from(keep).unwrap_or(u32::MAX);
                    worker.cut_off(position, keep, sched.now);
                    settle(sched, slot, position);
                }
            }
        }
    }
    end_or_queue(sched, id);
}

/// If no further result of a frame matters, the frame does not count any more, and its running
/// item is cancelled.
pub(super) fn settle(sched: &mut Sched, slot: SlotId, position: usize) {
    let Some(frame) = sched.workers[slot].frames.get_mut(position) else {
        return;
    };
    let Some(job) = sched.jobs.get_mut(frame.job) else {
        return;
    };
    let more = frame.done < frame.end && frame.next_index() < job.limit();
    if more || !frame.disown(job) {
        return;
    }
    let id = frame.job;
    // (Of a frame that was answered in full nothing runs.)
    if frame.done < frame.end || frame.end == 0 {
        cancel::cancel_running(sched, slot, position);
    }
    end_or_queue(sched, id);
}

/// Something of a job has come or ended: if that was its last result, the job ends; otherwise it is
/// in the queue, if something of it may be sent ([`Job::items`]).
pub(super) fn end_or_queue(sched: &mut Sched, id: JobId) {
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    if !job.is_settled() {
        return sched.jobs.enqueue(id, false, sched.now);
    }
    let is_one_process = sched.policy.one_process.is_some();
    if !is_one_process && job.holds() && !job.has_failed() && !sched.hands_over {
        // The thread that ends it may also be the one that drops its values.
        job.hand_over(true);
        sched.chores.push(Chore::Finish(job.result_type(), id));
        return;
    }
    let Some(job) = sched.jobs.take(id) else {
        return;
    };
    if sched.stop.is_some_and(|stop| stop.is_drop)
        && job.is_cancelled()
        && let Some(report) = job.work.sink.lost()
    {
        let (first, count) = sched.lost.take().unwrap_or((report, 0));
        sched.lost = Some((first, count + 1));
    }
    sched.count_dropped(job.pending); // a caller with the result sees that its worker is idle
    rules::after_job(sched, id, &job);
    if is_one_process {
        sched.deferred_job = Some(job);
    } else if sched.hands_over {
        sched.for_thread = Some(job);
    } else {
        let result_type = job.result_type();
        let drop = |values| Chore::Drop(result_type, values);
        sched.chores.extend(job.finish().map(drop));
    }
}

/// Items of a job that were not begun end in `error`, and no more are added.
pub(super) fn fail_waiting(sched: &mut Sched, id: JobId, error: &TaskError) {
    if sched.jobs.get(id).is_some_and(|job| job.work.each) {
        sched.jobs.resume_all(id);
    }
    let Some(job) = sched.jobs.get_mut(id) else {
        return;
    };
    if job.work.each {
        job.sealed |= sched.stop.is_some();
        // Each item that waits ends in `error`.
        for piece in job.abandon() {
            for index in piece.first()..piece.first() + piece.len() {
                job.answer(1);
                sched.counters.dropped(1);
                let error = job.error_of(index, error.clone());
                job.work.sink.error(index, error);
            }
        }
    } else if let Some(first) = job.first_missing() {
        // (An item that has not been fed yet may never come.)
        let error = if first < job.fed {
            job.error_of(first, error.clone())
        } else {
            error.clone()
        };
        fail(sched, id, first, error);
    }
    end_or_queue(sched, id);
}
