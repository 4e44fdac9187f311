//! How a pool ends, breaks down or gives up, and what becomes of a worker that does not die.
//!
//! A [`Stop`] ends the pool; of several, the stronger way and the earlier limit win. When its limit
//! is over, `due` kills what still runs.
//!
//! A pool *breaks down* when an initializer fails, or more workers have died than `max_restarts`
//! allows (`deaths`): all calls end with that error, now and later, and no more processes are
//! started. When none of its workers lives long enough to do anything, the pool *gives up*: waiting
//! calls fail, later ones are tried again.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::back_off::StartFailure;
use super::state::Sched;
use super::workers::{Stage, Worker};
use super::{Action, How, Stop, finish, take_back};
use crate::process::job::slot_id::SlotId;
use crate::process::limits::{DEATH_LIMIT, LONGEST_DEATH};
use crate::task::{TaskError, WorkerExit};

/// Begins the end of the pool.
pub(super) fn stop(sched: &mut Sched, stop: Stop) {
    let before = sched.stop.unwrap_or(stop);
    let how = before.how.max(stop.how);
    let limit = before.limit.into_iter().chain(stop.limit).min();
    // Once everything was killed, no limit is left to wake up for.
    let limit = limit.filter(|_| how < How::Kill);
    sched.stop = Some(Stop {
        how,
        limit,
        is_drop: before.is_drop,
    });
    match stop.how {
        How::Wait => {
            // The thread that would feed these may be waiting for the end.
            for id in sched.jobs.ids() {
                if let Some(job) = sched.jobs.get_mut(id).filter(|job| job.work.each) {
                    job.sealed = true;
                }
                finish::end_or_queue(sched, id);
            }
        }
        How::CancelPending => {
            for slot in sched.workers.ids() {
                take_back::take_all_back(sched, slot);
            }
            for id in sched.jobs.ids() {
                finish::fail_waiting(sched, id, &TaskError::Cancelled);
            }
        }
        How::Kill => {
            for id in sched.jobs.ids() {
                finish::fail(sched, id, 0, TaskError::Cancelled);
            }
            for slot in sched.workers.ids() {
                sched.kill_worker(slot);
            }
        }
    }
}

impl Sched {
    /// Begins the end of the pool.
    pub(crate) fn stop(&mut self, by: Stop, now: Instant) {
        self.now = now;
        stop(self, by);
    }

    /// No worker can ever be had, as this error says: everything fails, now and later.
    pub(crate) fn break_down(&mut self, error: &TaskError, now: Instant) {
        self.now = now;
        break_down(self, error);
    }

    /// A worker will not reach `init`.
    pub(crate) fn failed_to_start(&mut self, slot: SlotId, why: StartFailure, now: Instant) {
        self.now = now;
        failed_to_start(self, slot, why);
    }

    /// Whether everything has ended and every worker is gone.
    pub(crate) fn is_over(&self) -> bool {
        let mut workers = self.workers.iter();
        let is_empty = self.stop.is_some() && self.jobs.is_empty();
        is_empty && workers.all(|worker| worker.stage().is_down())
    }
}

/// Whether a worker has nothing left to do: it gets no more items, or the pool ends. (If it is
/// not through, it runs a cancelled item, which has its grace period.)
pub(super) fn may_leave(sched: &Sched, worker: &Worker) -> bool {
    let ends = sched.stop.is_some() && sched.jobs.is_empty();
    worker.is_leaver()
        || ends
            && match worker.stage() {
                Stage::Ready => worker.is_through(),
                Stage::Starting(_) | Stage::Preparing | Stage::Waiting => true,
                _ => false,
            }
}

/// Sends away a worker that has nothing left to do.
pub(super) fn dismiss(sched: &mut Sched, slot: SlotId) {
    let worker = &sched.workers[slot];
    if worker.is_on_its_way() && worker.stage() != Stage::Waiting {
        return sched.kill_worker(slot);
    }
    sched.workers[slot].bears_fruit(); // it has done all that it was to do
    sched.dismiss_worker(slot);
}

/// A worker has been in its state for too long.
pub(super) fn time_is_up(sched: &mut Sched, slot: SlotId) {
    let worker = &mut sched.workers[slot];
    if worker.is_starting() {
        return failed_to_start(sched, slot, StartFailure::Slow);
    }
    let Some(lasts) = worker.still_lives(sched.now) else {
        return sched.kill_worker(slot);
    };
    let surely = lasts >= LONGEST_DEATH;
    sched.actions.push(if lasts >= DEATH_LIMIT {
        Action::Abandon { slot, surely }
    } else {
        Action::Kill(slot)
    });
}

/// A worker will not reach `init`.
pub(super) fn failed_to_start(sched: &mut Sched, slot: SlotId, why: StartFailure) {
    sched.workers[slot].cannot_start(why);
    sched.kill_worker(slot);
}

/// An initializer has failed, or too many workers have died: everything fails, now and later.
pub(super) fn break_down(sched: &mut Sched, error: &TaskError) {
    sched.broken.get_or_insert_with(|| error.clone());
    for id in sched.jobs.ids() {
        let error = match sched.jobs.get(id).filter(|job| job.is_one()) {
            Some(job) if job.is_read() => continue, // it has ended, and is kept or decoded
            Some(job) => job.error_of(0, error.clone()),
            None => error.clone(),
        };
        finish::fail(sched, id, 0, error);
    }
    for slot in sched.workers.ids() {
        if sched.workers[slot].is_serving() {
            sched.workers[slot].gets_no_more();
        }
    }
}

/// No worker lives long enough to do anything: waiting items fail.
pub(super) fn give_up(sched: &mut Sched, exit: &WorkerExit) {
    let error = TaskError::WorkerDied(Box::new(exit.clone()));
    for id in sched.jobs.ids() {
        finish::fail_waiting(sched, id, &error);
    }
    // A job in a queue without waiting items would be a reason to start workers again.
    sched.jobs.prune();
}
