//! New jobs and their items, and the end of those that their callers cancel.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use crate::process::job::job_id::JobId;
use std::time::{Duration, Instant};

use super::policy::FOR_EVER;
use super::state::Sched;
use super::{Feed, finish};
use crate::process::job::Job;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

impl Sched {
    /// A new job.
    pub(crate) fn submit(&mut self, id: JobId, mut job: Box<Job>, now: Instant) {
        self.now = now;
        let options = &mut job.work.options;
        if options.timeout.is_some_and(|timeout| timeout > FOR_EVER) {
            options.timeout = Some(FOR_EVER);
        }
        self.jobs.add(id, job);
        if let Some(error) = self.broken.clone() {
            finish::fail(self, id, 0, error);
        }
    }

    /// More items of a job.
    pub(crate) fn feed(&mut self, feed: Feed, now: Instant) {
        self.now = now;
        let (id, base, chunk) = (feed.id, feed.base, feed.chunk);
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let behind = base + chunk.len();
        if job.work.each && job.sealed {
            // The pool has ended in the meantime.
            (base..behind).for_each(|index| job.work.sink.error(index, TaskError::Closed));
            return;
        }
        job.sealed |= feed.sealed;
        let error = feed.failure.map(|error| job.error_of(behind, error));
        if !chunk.is_empty() {
            self.counters.stats.lock().pending += chunk.len() as u64;
            job.feed(Piece::whole(chunk, base));
            if job.work.options.timeout == Some(Duration::ZERO) {
                self.jobs.ends_at(id, self.now);
            }
        }
        if let Some(error) = error {
            finish::fail(self, id, behind, error);
        }
        finish::end_or_queue(self, id);
    }

    /// The task of a job was cancelled and has ended.
    pub(crate) fn cancel(&mut self, id: JobId, now: Instant) {
        self.now = now;
        finish::fail(self, id, 0, TaskError::Cancelled);
    }
}
