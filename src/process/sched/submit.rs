//! New jobs and their items, and the end of those that their callers cancel.
//!
//! Tests: `src/process/sched/simulated.rs`, `tests/process/calls.rs`.

use crate::process::job::job_id::JobId;
use std::time::Duration;

use super::policy::FOR_EVER;
use super::state::Sched;
use super::{Feed, finish};
use crate::process::job::Job;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

/// A new job.
pub(super) fn submit(sched: &mut Sched, id: JobId, mut job: Box<Job>) {
    let options = &mut job.work.options;
    if options.timeout.is_some_and(|timeout| timeout > FOR_EVER) {
        options.timeout = Some(FOR_EVER);
    }
    sched.jobs.add(id, job);
    if let Some(error) = sched.broken.clone() {
        finish::fail(sched, id, 0, error);
    }
}

/// More items of a job.
pub(super) fn feed(sched: &mut Sched, feed: Feed) {
    let (id, base, chunk) = (feed.id, feed.base, feed.chunk);
    let Some(job) = sched.jobs.get_mut(id) else {
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
        sched.counters.stats.lock().pending += chunk.len() as u64;
        job.feed(Piece::whole(chunk, base));
        if job.work.options.timeout == Some(Duration::ZERO) {
            sched.jobs.ends_at(id, sched.now);
        }
    }
    if let Some(error) = error {
        finish::fail(sched, id, behind, error);
    }
    finish::end_or_queue(sched, id);
}

/// The task of a job was cancelled and has ended.
pub(super) fn cancel(sched: &mut Sched, id: JobId) {
    finish::fail(sched, id, 0, TaskError::Cancelled);
}
