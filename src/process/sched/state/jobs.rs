//! The jobs of a pool: those that live, in which order they wait, and which times they have.
//!
//! A job is in the queue if a free worker could serve it, and only then: while some wait, `elastic`
//! starts workers, and no idle worker takes over what others have (`take_over`).
//!
//! Tests: `src/process/sched/simulated/sim_calls.rs`.

use crate::process::job::job_id::JobId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

use crate::process::job::Job;
use crate::process::value::chunk::Piece;

/// How many limits of ended jobs may always be kept.
const MOST_FORGOTTEN: usize = 64;

/// The jobs of a pool, by their numbers.
#[derive(Default)]
pub(in crate::process::sched) struct Jobs {
    table: HashMap<JobId, Box<Job>>,
    /// Jobs with waiting items, each once, the most urgent first: `(priority, id)`. Some may have
    /// ended, but not the first.
    queue: VecDeque<(i32, JobId)>,
    /// Since when there has been one, while that is so.
    queue_since: Option<Instant>,
    /// From when on what waits of a job may not begin any more, or the whole job ends:
    /// `(time, id)`. Some may be of jobs that have ended, but not the first.
    limits: BinaryHeap<Reverse<(Instant, JobId)>>,
    /// Items that pause before a retry: until when, and of which job.
    paused: Vec<(Instant, JobId, Piece)>,
}

/// Who lives.
impl Jobs {
    /// A new job, and when it ends.
    pub(in crate::process::sched) fn add(&mut self, id: JobId, job: Box<Job>) {
        if let Some(until) = job.work.options.until {
            self.ends_at(id, until);
        }
        self.table.insert(id, job);
    }

    pub(in crate::process::sched) fn has(&self, id: JobId) -> bool {
        self.table.contains_key(&id)
    }

    pub(in crate::process::sched) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(in crate::process::sched) fn get(&self, id: JobId) -> Option<&Job> {
        self.table.get(&id).map(|job| &**job)
    }

    pub(in crate::process::sched) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.table.get_mut(&id).map(|job| &mut **job)
    }

    /// The jobs, in the order of their calls.
    pub(in crate::process::sched) fn ids(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.table.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(in crate::process::sched) fn all(&self) -> impl Iterator<Item = &Job> {
        self.table.values().map(|job| &**job)
    }

    /// The job has ended: takes it out, with all that was kept of it.
    pub(in crate::process::sched) fn take(&mut self, id: JobId) -> Option<Box<Job>> {
        let job = self.table.remove(&id)?;
        let table = &self.table;
        while let Some((_, first)) = self.queue.front()
            && !table.contains_key(first)
        {
            self.queue.pop_front();
        }
        let lives = |limit: &Reverse<(Instant, JobId)>| table.contains_key(&limit.0.1);
        while self.limits.peek().is_some_and(|first| !lives(first)) {
            self.limits.pop();
        }
        // (All are looked at once those of ended jobs are the most.)
        if self.limits.len() > 2 * table.len() + MOST_FORGOTTEN {
            self.limits.retain(lives);
        }
        self.paused.retain(|(_, of, _)| *of != id);
        Some(job)
    }
}

/// Who waits.
impl Jobs {
    /// The job that is next.
    pub(in crate::process::sched) fn next(&self) -> Option<JobId> {
        self.queue.front().map(|(_, id)| *id)
    }

    /// Whether any waits.
    pub(in crate::process::sched) fn wait(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Since when some have waited.
    pub(in crate::process::sched) fn wait_since(&self) -> Option<Instant> {
        self.queue_since.filter(|_| self.wait())
    }

    /// Those that wait, in order.
    pub(in crate::process::sched) fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.queue.iter().filter_map(|(_, id)| self.get(*id))
    }

    /// Puts a job with waiting items into the queue, if it is not there yet: after the jobs of the
    /// same priority, or `first`, before them.
    pub(in crate::process::sched) fn enqueue(&mut self, id: JobId, first: bool, now: Instant) {
        let Some(job) = self.table.get_mut(&id) else {
            return;
        };
        if job.items(1) == 0 || std::mem::replace(&mut job.queued, true) {
            return;
        }
        let own = job.work.options.priority;
        // (The queue is sorted, including jobs that have ended.)
        let is_before = |other: &(i32, JobId)| if first { other.0 > own } else { other.0 >= own };
        let place = self.queue.partition_point(is_before);
        if self.queue.is_empty() {
            self.queue_since = Some(now);
        }
        self.queue.insert(place, (own, id));
    }

    /// Takes the next job out of the queue.
    pub(in crate::process::sched) fn dequeue(&mut self) {
        let Some((_, id)) = self.queue.pop_front() else {
            return;
        };
        if let Some(job) = self.table.get_mut(&id) {
            job.queued = false;
        }
        while let Some((_, first)) = self.queue.front()
            && !self.table.contains_key(first)
        {
            self.queue.pop_front();
        }
    }

    /// Takes the jobs without waiting items out of the queue.
    pub(in crate::process::sched) fn prune(&mut self) {
        let table = &mut self.table;
        self.queue.retain(|(_, id)| {
            table.get_mut(id).is_some_and(|job| {
                job.queued = job.items(1) > 0;
                job.queued
            })
        });
    }
}

/// Which times they have.
impl Jobs {
    /// The job ends then, or what waits of it does.
    pub(in crate::process::sched) fn ends_at(&mut self, id: JobId, at: Instant) {
        self.limits.push(Reverse((at, id)));
    }

    /// The time that is over next, and of which job.
    pub(in crate::process::sched) fn next_end(&self) -> Option<(Instant, JobId)> {
        self.limits.peek().map(|limit| limit.0)
    }

    /// Takes out that time.
    pub(in crate::process::sched) fn take_end(&mut self) -> Option<(Instant, JobId)> {
        self.limits.pop().map(|limit| limit.0)
    }

    /// An item pauses until then.
    pub(in crate::process::sched) fn pause(&mut self, id: JobId, piece: Piece, until: Instant) {
        self.paused.push((until, id, piece));
    }

    /// When the first pause is over.
    pub(in crate::process::sched) fn resume_at(&self) -> Option<Instant> {
        self.paused.iter().map(|(at, ..)| *at).min()
    }

    /// The pauses until `now` are over. Returns the jobs whose items wait again.
    pub(in crate::process::sched) fn resume(&mut self, now: Instant) -> Vec<JobId> {
        let over = self.paused.extract_if(.., |(at, ..)| *at <= now);
        let table = &mut self.table;
        over.map(|(_, id, piece)| {
            if let Some(job) = table.get_mut(&id) {
                job.resume(piece);
            }
            id
        })
        .collect()
    }

    /// All items of a job wait again.
    pub(in crate::process::sched) fn resume_all(&mut self, id: JobId) {
        let own = self.paused.extract_if(.., |(_, of, _)| *of == id);
        for (_, _, piece) in own {
            if let Some(job) = self.table.get_mut(&id) {
                job.resume(piece);
            }
        }
    }

    /// How many times and pauses are kept.
    #[cfg(test)]
    pub(in crate::process::sched) fn times(&self) -> (usize, usize) {
        (self.limits.len(), self.paused.len())
    }
}
