//! What a caller may do in place of the driver: dispatch work, if nothing else has to be done.
//!
//! `shortcut` calls these functions under the engine's lock; none of them runs user code.
//!
//! Tests: `tests/process/speed.rs`, `tests/process/callers.rs`.

use std::time::Instant;

use super::Sched;
use super::sent_frame::SentFrame;
use super::workers::Worker;
use crate::process::job::reading::Chore;

impl Sched {
    /// Whether nothing is due, so that work can be dispatched as usual.
    pub(crate) fn nothing_is_due(&self, now: Instant) -> bool {
        !self.is_ending() && self.deadline().is_none_or(|due| due > now)
    }

    /// Whether the pool ends or has broken down, which only the driver handles.
    fn is_ending(&self) -> bool {
        self.stop.is_some() || self.broken.is_some()
    }

    /// Whether there is something that only the driver may do, or that no caller will do: an idle
    /// worker while items wait in the queue or at another worker, a pool that ends, a process to be
    /// started or dismissed.
    pub(crate) fn needs_driver(&self, now: Instant) -> bool {
        let takes_over = || self.workers.iter().any(Worker::is_idle) && self.victim(now).is_some();
        let waits = self.has_queued();
        self.needs_driver_thread() || waits || takes_over() || self.straggler(now).is_some()
    }

    /// Whether there is something that only the driver may do: a pool that ends, a process to be
    /// started or dismissed.
    pub(crate) fn needs_driver_thread(&self) -> bool {
        self.is_ending()
            || !self.actions.is_empty()
            || !self.chores.is_empty()
            || !self.wakers.is_empty()
            || self.workers.iter().any(Worker::is_leaver)
    }

    /// Takes the chores of the job `id` that its caller may carry out.
    pub(crate) fn chores_of(&mut self, id: u64) -> Vec<Chore> {
        let own = |chore: &mut Chore| chore.caller() == Some(id);
        self.chores.extract_if(.., own).collect()
    }

    /// Dispatches work, and does nothing else of what `tick` does, so no task can end. False: one
    /// must end first, because its time is over.
    pub(crate) fn dispatch_work(&mut self, now: Instant) -> bool {
        let may = !self.has_late_job(now);
        if may {
            self.dispatch(now);
            self.count_busy();
        }
        may
    }

    /// The worker that has an item of the job `id` and nothing else.
    pub(crate) fn sole(&self, id: u64) -> Option<usize> {
        let only = |frame: &SentFrame| frame.job == id && frame.wanted;
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.frames.len() == 1 && only(&worker.frames[0]))
    }

    /// Whether the job `id` is one call of one item.
    pub(crate) fn is_one_call(&self, id: u64) -> bool {
        let job = self.jobs.get(&id);
        job.is_some_and(|job| !job.work.numbered && !job.work.each)
    }

    /// Whether work waits, in the queue or behind other work.
    pub(crate) fn has_waiting(&self) -> bool {
        let is_busy = |worker: &Worker| worker.frames.len() > 1;
        self.has_queued() || self.workers.iter().any(is_busy)
    }

    /// Whether work waits that no worker has.
    pub(super) fn has_queued(&self) -> bool {
        !(self.queue.is_empty() && self.wait_for_memory.is_empty() && self.alone.is_empty())
    }

    /// Whether the only record that `worker` can still send is the end of its frame.
    pub(crate) fn only_ends(&self, worker: usize) -> bool {
        let frames = &self.workers[worker].frames;
        frames.len() == 1 && frames[0].done == frames[0].end
    }
}
