//! What a caller may do for the driver: dispatch work, if nothing else has to be done.
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
    /// Nothing is due, and work is handed out as ever.
    pub(crate) fn is_calm(&self, now: Instant) -> bool {
        !self.is_ending() && self.deadline().is_none_or(|due| due > now)
    }

    /// Its end, or its breakdown, is the driver's.
    fn is_ending(&self) -> bool {
        self.stop.is_some() || self.broken.is_some()
    }

    /// There is something that only the driver may do, or that no caller will: a worker that waits
    /// for what stands in the queue or with another, a pool that ends, a process to be started
    /// or told to go.
    pub(crate) fn needs_driver(&self, now: Instant) -> bool {
        let takes_over = || self.workers.iter().any(Worker::is_idle) && self.victim(now).is_some();
        self.has_errands() || !self.queue.is_empty() || takes_over()
    }

    /// There is something that only the driver may do: a pool that ends, a process to be started or
    /// told to go.
    pub(crate) fn has_errands(&self) -> bool {
        self.is_ending()
            || !self.actions.is_empty()
            || !self.chores.is_empty()
            || self.workers.iter().any(Worker::is_leaver)
    }

    /// What is to be decoded for the job `id`, by its caller.
    pub(crate) fn readings_of(&mut self, id: u64) -> Vec<Chore> {
        let own = |chore: &mut Chore| matches!(chore, Chore::Read(reading) if reading.job == id);
        self.chores.extract_if(.., own).collect()
    }

    /// Hands out work, and does nothing else of what `tick` does: no task can end.
    pub(crate) fn hand_out(&mut self, now: Instant) {
        self.dispatch(now);
        self.count_busy();
    }

    /// The worker that has the job `id` and nothing else.
    pub(crate) fn sole(&self, id: u64) -> Option<usize> {
        let only = |frame: &SentFrame| frame.job == id && frame.wanted;
        let mut workers = self.workers.iter();
        workers.position(|worker| worker.frames.len() == 1 && only(&worker.frames[0]))
    }

    /// All that `worker` can have to say is that it is done.
    pub(crate) fn only_ends(&self, worker: usize) -> bool {
        let frames = &self.workers[worker].frames;
        frames.len() == 1 && frames[0].done == frames[0].end
    }
}
