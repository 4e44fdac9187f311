//! How a pool ends, breaks down or gives up, and what becomes of a worker that does not die.
//!
//! A [`Stop`] ends the pool; of several, the stronger way and the earlier limit win. When its limit
//! is over, `Sched::tick` kills what still runs.
//!
//! A pool *breaks down* when an initializer fails, or more workers have died than `max_restarts`
//! allows (`deaths`): all calls end with that error, now and later, and no more processes are
//! started. When none of its workers lives long enough to do anything, the pool *gives up*: waiting
//! calls fail, later ones are tried again.
//!
//! Tests: `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::back_off::StartFailure;
use super::workers::{Stage, Worker};
use super::{Action, How, Sched, Stop};
use crate::process::limits::{DEATH_LIMIT, LONGEST_DEATH};
use crate::process::wire::Frame;
use crate::task::{TaskError, WorkerExit};

impl Sched {
    /// Begins the end of the pool.
    pub(crate) fn stop(&mut self, stop: Stop, now: Instant) {
        let before = self.stop.unwrap_or(stop);
        let how = before.how.max(stop.how);
        let limit = before.limit.into_iter().chain(stop.limit).min();
        // Once everything was killed, no limit is left to wake up for.
        let limit = limit.filter(|_| how < How::Kill);
        self.stop = Some(Stop {
            how,
            limit,
            is_drop: before.is_drop,
        });
        match stop.how {
            How::Wait => {
                // The thread that would feed these may be waiting for the end.
                for id in self.ids() {
                    if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.work.each) {
                        job.sealed = true;
                    }
                    self.finish_if_settled(id);
                }
            }
            How::CancelPending => {
                for worker in 0..self.workers.len() {
                    self.take_all_back(worker, now);
                }
                for id in self.ids() {
                    self.fail_waiting(id, &TaskError::Cancelled, now);
                }
            }
            How::Kill => {
                for id in self.ids() {
                    self.fail(id, 0, TaskError::Cancelled, now);
                }
                for index in 0..self.workers.len() {
                    self.kill(index, now);
                }
            }
        }
    }

    /// The jobs, in the order of their calls.
    fn ids(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.jobs.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Whether nothing new begins any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.how >= How::CancelPending)
    }

    /// Whether the pool is killed, so that no caller waits any more.
    pub(crate) fn is_killed(&self) -> bool {
        self.stop.is_some_and(|stop| stop.how == How::Kill)
    }

    /// Whether everything has ended and every worker is gone.
    pub(crate) fn is_over(&self) -> bool {
        let mut workers = self.workers.iter();
        let is_empty = self.stop.is_some() && self.jobs.is_empty();
        is_empty && workers.all(|worker| worker.stage.is_down())
    }

    /// Items of a job that were not begun end in `error`, and no more are added.
    pub(super) fn fail_waiting(&mut self, id: u64, error: &TaskError, now: Instant) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.work.each {
            job.sealed |= self.stop.is_some();
            for (_, _, piece) in self.paused.extract_if(.., |(_, of, _)| *of == id) {
                job.resume(piece);
            }
            // Each item that waits ends in `error`.
            for piece in job.abandon() {
                for index in piece.first()..piece.first() + piece.len() {
                    job.answer(1);
                    self.counters.dropped(1);
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
            self.fail(id, first, error, now);
        }
        self.finish_if_settled(id);
    }

    /// Dismisses the workers that have nothing left to do.
    pub(super) fn dismiss(&mut self, now: Instant) {
        for index in 0..self.workers.len() {
            match self.workers[index].stage {
                // If it is not through, it runs a cancelled item, which has its grace period.
                Stage::Ready | Stage::Retiring if self.workers[index].is_through() => {
                    self.dismiss_worker(index, now);
                }
                Stage::Starting(_) | Stage::Preparing => self.kill(index, now),
                _ => {}
            }
        }
    }

    pub(super) fn dismiss_worker(&mut self, index: usize, now: Instant) {
        self.workers[index].stage = Stage::Leaving(now);
        self.send_message(index, &Frame::Bye);
    }

    /// A worker has been in its state for too long.
    pub(super) fn time_is_up(&mut self, index: usize, now: Instant) {
        match &mut self.workers[index].stage {
            Stage::Dying { first, last, .. } => {
                *last = now;
                let lasts = now.saturating_duration_since(*first);
                let surely = lasts >= LONGEST_DEATH;
                self.actions.push(if lasts >= DEATH_LIMIT {
                    Action::Abandon { index, surely }
                } else {
                    Action::Kill(index)
                });
            }
            Stage::Starting(_) => self.failed_to_start(index, StartFailure::Slow, now),
            _ => self.kill(index, now),
        }
    }

    /// A worker will not reach `init`.
    pub(crate) fn failed_to_start(&mut self, index: usize, why: StartFailure, now: Instant) {
        self.workers[index].failed_start = Some(why);
        self.kill(index, now);
    }

    pub(crate) fn kill(&mut self, index: usize, now: Instant) {
        let worker = &mut self.workers[index];
        if !worker.stage.is_down() && !matches!(worker.stage, Stage::Dying { .. }) {
            worker.stage = Stage::Dying {
                first: now,
                last: now,
                dismissed: matches!(worker.stage, Stage::Leaving(_)),
            };
            self.actions.push(Action::Kill(index));
        }
    }

    /// An initializer has failed, or too many workers have died: everything fails, now and later.
    pub(crate) fn break_down(&mut self, error: &TaskError, now: Instant) {
        self.broken.get_or_insert_with(|| error.clone());
        for id in self.ids() {
            let error = match self.jobs.get(&id).filter(|job| job.is_one()) {
                Some(job) if job.is_read() => continue, // it has ended, and is kept or decoded
                Some(job) => job.error_of(0, error.clone()),
                None => error.clone(),
            };
            self.fail(id, 0, error, now);
        }
        for worker in self.workers.iter_mut().filter(|worker| worker.is_serving()) {
            worker.stage = Stage::Retiring;
        }
    }

    /// The error that everything fails with, if the pool has broken down.
    pub(crate) fn failure(&self) -> Option<&TaskError> {
        self.broken.as_ref()
    }

    /// Whether no worker lives long enough to do anything, as the death of worker `index` has
    /// shown.
    pub(super) fn is_hopeless(&self, index: usize) -> bool {
        match self.policy.elastic {
            None => self.workers.iter().all(Worker::is_given_up),
            // Some slots may never have been tried.
            Some(_) => {
                self.workers[index].is_given_up() && self.workers.iter().all(Worker::is_away)
            }
        }
    }

    /// No worker lives long enough to do anything: waiting items fail.
    pub(super) fn give_up(&mut self, exit: &WorkerExit, now: Instant) {
        let error = TaskError::WorkerDied(Box::new(exit.clone()));
        for id in self.ids() {
            self.fail_waiting(id, &error, now);
        }
        // A job in a queue without waiting items would be a reason to start workers again.
        let jobs = &mut self.jobs;
        self.queue.retain(|(_, id)| {
            jobs.get_mut(id).is_some_and(|job| {
                job.queued = job.items(1) > 0;
                job.queued
            })
        });
    }
}
