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

use super::back_off::StartFailure;
use super::state::Sched;
use super::workers::{Stage, Worker};
use super::{Action, How, Stop, finish, take_back};
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
                finish::finish_if_settled(sched, id);
            }
        }
        How::CancelPending => {
            for worker in 0..sched.workers.len() {
                take_back::take_all_back(sched, worker);
            }
            for id in sched.jobs.ids() {
                finish::fail_waiting(sched, id, &TaskError::Cancelled);
            }
        }
        How::Kill => {
            for id in sched.jobs.ids() {
                finish::fail(sched, id, 0, TaskError::Cancelled);
            }
            for index in 0..sched.workers.len() {
                sched.kill_worker(index);
            }
        }
    }
}

/// Whether everything has ended and every worker is gone.
pub(super) fn is_over(sched: &Sched) -> bool {
    let mut workers = sched.workers.iter();
    let is_empty = sched.stop.is_some() && sched.jobs.is_empty();
    is_empty && workers.all(|worker| worker.stage.is_down())
}

/// Whether a worker has nothing left to do: it gets no more items, or the pool ends. (If it is
/// not through, it runs a cancelled item, which has its grace period.)
pub(super) fn may_leave(sched: &Sched, worker: &Worker) -> bool {
    let ends = sched.stop.is_some() && sched.jobs.is_empty();
    worker.is_leaver()
        || ends
            && match worker.stage {
                Stage::Ready => worker.is_through(),
                Stage::Starting(_) | Stage::Preparing | Stage::Waiting => true,
                _ => false,
            }
}

/// Sends away a worker that has nothing left to do.
pub(super) fn dismiss(sched: &mut Sched, index: usize) {
    let worker = &sched.workers[index];
    if worker.is_on_its_way() && worker.stage != Stage::Waiting {
        return sched.kill_worker(index);
    }
    sched.workers[index].fruitful = true; // it has done all that it was to do
    sched.dismiss_worker(index);
}

/// A worker has been in its state for too long.
pub(super) fn time_is_up(sched: &mut Sched, index: usize) {
    match &mut sched.workers[index].stage {
        Stage::Dying { first, last, .. } => {
            *last = sched.now;
            let lasts = sched.now.saturating_duration_since(*first);
            let surely = lasts >= LONGEST_DEATH;
            sched.actions.push(if lasts >= DEATH_LIMIT {
                Action::Abandon { index, surely }
            } else {
                Action::Kill(index)
            });
        }
        Stage::Starting(_) => failed_to_start(sched, index, StartFailure::Slow),
        _ => sched.kill_worker(index),
    }
}

/// A worker will not reach `init`.
pub(super) fn failed_to_start(sched: &mut Sched, index: usize, why: StartFailure) {
    sched.workers[index].failed_start = Some(why);
    sched.kill_worker(index);
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
    for worker in sched
        .workers
        .iter_mut()
        .filter(|worker| worker.is_serving())
    {
        worker.stage = Stage::Retiring;
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
