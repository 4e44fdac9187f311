//! When an item and its job end, and on which thread the task of the job is completed.
//!
//! A job ends when everything that matters of it has ended. The driver completes it here, unless
//! values have to be dropped with it that are not quick to drop (`Job::holds`): then another thread
//! does ([`Chore::Finish`]), and so does the thread that has decoded the last values.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/callers.rs`.

use std::collections::hash_map::Entry;
use std::time::Instant;

use super::Sched;
use crate::process::job::Job;
use crate::process::job::reading::{Chore, DecodedPart, Reading};
use crate::process::job::results::Values;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

impl Sched {
    /// Passes decoded values to their job, and the error if the last could not be decoded. A caller
    /// that takes one of them finds it counted in `stats`. Returns values that are not wanted.
    /// `piece`: the items of their frame, if a hook gets those that fail.
    pub(super) fn add_values(
        &mut self,
        id: u64,
        part: DecodedPart,
        piece: Option<Piece>,
        now: Instant,
    ) -> Option<Values> {
        let Some(job) = self.jobs.get(&id) else {
            // The payload of a panic while it was decoded may have a destructor, too.
            return Some(Box::new((part.values, part.taken.error)));
        };
        let count = part.taken.count - usize::from(part.taken.error.is_some());
        self.counters.count(count as u64, 0);
        if job.work.each {
            self.count_busy();
        }
        let job = self.jobs.get_mut(&id)?;
        job.answer(count as u64);
        let unwanted = if count > 0 && part.first < job.limit() {
            job.work.sink.put(part.first, part.values)
        } else {
            Some(part.values)
        };
        if let Some(error) = part.taken.error {
            self.item_error(id, part.first + count, error, piece, now);
        }
        unwanted
    }

    /// Some values of `reading` have been decoded. Returns values that are not wanted, and a job
    /// that the decoding thread must end.
    pub(crate) fn decoded(
        &mut self,
        reading: &Reading,
        part: DecodedPart,
        now: Instant,
    ) -> (Option<Values>, Option<Box<Job>>) {
        let id = reading.job;
        if let Some(job) = self.jobs.get_mut(&id).filter(|_| reading.is_over()) {
            job.has_read(reading.first);
        }
        self.ending = Some(None);
        let unwanted = self.add_values(id, part, reading.piece.clone(), now);
        self.finish_if_settled(id);
        (unwanted, self.ending.take().flatten())
    }

    /// The item at `at` of the job `id` has ended in `error`, by itself. `piece`: the items of
    /// its frame, if a hook may get it.
    pub(super) fn item_error(
        &mut self,
        id: u64,
        at: usize,
        error: TaskError,
        piece: Option<Piece>,
        now: Instant,
    ) {
        if let Some(error) = self.report(id, at, error, piece) {
            self.item_ends(id, at, error, now);
        }
    }

    /// The same, without a hook.
    pub(super) fn item_ends(&mut self, id: u64, at: usize, error: TaskError, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        self.counters.count(0, 1);
        let error = job.error_of(at, error);
        if !job.work.each {
            job.pending = job.pending.saturating_sub(1);
            return self.fail(id, at, error, now);
        }
        job.answer(1);
        self.count_busy();
        if let Some(job) = self.jobs.get_mut(&id) {
            job.work.sink.error(at, error);
        }
    }

    /// The item at `at` has ended in `error`: items after it do not matter any more, and those that
    /// run are cancelled.
    pub(super) fn fail(&mut self, id: u64, at: usize, error: TaskError, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.fail(at, error) && job.frames > 0 {
            for worker in 0..self.workers.len() {
                for position in 0..self.workers[worker].frames.len() {
                    let frame = &mut self.workers[worker].frames[position];
                    if frame.job == id && frame.wanted {
                        let keep = at.saturating_sub(frame.piece.first());
                        let keep = u32::try_from(keep).unwrap_or(u32::MAX);
                        self.workers[worker].cut_off(position, keep);
                        self.settle(worker, position, now);
                    }
                }
            }
        }
        self.finish_if_settled(id);
    }

    /// If no further result of a frame matters, the frame does not count any more, and its running
    /// item is cancelled.
    pub(super) fn settle(&mut self, index: usize, position: usize, now: Instant) {
        let Some(frame) = self.workers[index].frames.get_mut(position) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&frame.job) else {
            return;
        };
        let more = frame.done < frame.end && frame.next_index() < job.limit();
        if !frame.wanted || more {
            return;
        }
        frame.wanted = false;
        job.frames -= 1;
        let id = frame.job;
        // (Of a frame that was answered in full nothing runs.)
        if frame.done < frame.end || frame.end == 0 {
            self.cancel_running(index, position, now);
        }
        self.finish_if_settled(id);
    }

    /// Ends a job whose last result is there.
    pub(super) fn finish_if_settled(&mut self, id: u64) {
        let Entry::Occupied(mut found) = self.jobs.entry(id) else {
            return;
        };
        let job = found.get_mut();
        if !job.is_settled() {
            return;
        }
        let is_one_process = self.policy.one_process.is_some();
        if !is_one_process && job.holds() && !job.has_failed() && self.ending.is_none() {
            // The thread that ends it may also be the one that drops its values.
            job.hand_over(true);
            self.chores.push(Chore::Finish(job.result_type(), id));
            return;
        }
        let job = found.remove();
        if self.stop.is_some_and(|stop| stop.is_drop)
            && job.is_cancelled()
            && let Some(report) = job.work.sink.lost()
        {
            let (first, count) = self.lost.take().unwrap_or((report, 0));
            self.lost = Some((first, count + 1));
        }
        self.forget_limits();
        self.count_dropped(job.pending); // a caller with the result sees that its worker is idle
        if job.work.context().is_some() {
            self.forget_context(id);
        }
        match &mut self.ending {
            _ if is_one_process => self.deferred_job = Some(job),
            Some(ending) => *ending = Some(job),
            None => {
                let result_type = job.result_type();
                let drop = |values| Chore::Drop(result_type, values);
                self.chores.extend(job.finish().map(drop));
            }
        }
    }

    /// For the thread that carries out a `Chore::Finish`: the job, if it has not ended since.
    pub(crate) fn finished(&mut self, id: u64) -> Option<Box<Job>> {
        self.jobs.get_mut(&id)?.hand_over(false);
        self.ending = Some(None);
        self.finish_if_settled(id);
        self.ending.take().flatten()
    }
}
