//! Which errors of items are held back: those of items that are kept as files, until the files are
//! written, and those with places in the program, until their names are known.
//!
//! Another thread does both (`job::keep_failures`, `task::frame_names`); meanwhile the job counts
//! the item among its readings, and has it as failed: no limit of the call ends it otherwise
//! (`Job::only_fails`).
//!
//! Tests: `tests/process/capsules.rs`; `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::Sched;
use crate::process::job::Job;
use crate::process::job::keep_failures::{Keeping, Source};
use crate::process::job::reading::{Chore, Naming};
use crate::task::TaskError;

impl Sched {
    /// Whether the items of the job `id` are kept when they fail.
    pub(super) fn keeps_failures(&self, id: u64) -> bool {
        let own = self.jobs.get(&id).map(|job| &job.work.options.keep);
        own.is_some_and(|own| own.is_some() || self.policy.keep.dir.is_some())
    }

    /// If the item at `at` of the job `id` is to be kept, or its error needs names, has another
    /// thread do that, which brings the error later ([`kept`](Self::kept)). Otherwise returns the
    /// error.
    pub(super) fn keep(
        &mut self,
        id: u64,
        at: usize,
        error: TaskError,
        source: Option<Source>,
    ) -> Option<TaskError> {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| at < job.limit()) else {
            return Some(error);
        };
        let dir = job.work.options.keep.as_ref();
        let dir = dir.or(self.policy.keep.dir.as_ref());
        let (Some(dir), Some(source), true) = (dir, source, Keeping::is_for(&error)) else {
            if !error.needs_names() {
                return Some(error);
            }
            let naming = Naming {
                job: id,
                at,
                error,
                is_given_up: false,
            };
            job.begins_to_fail(at);
            self.chores.push(Chore::Name(naming));
            return None;
        };
        let error = job.error_of(at, error);
        let keeping = Keeping {
            job: id,
            at,
            error,
            limits: self.policy.keep.clone(),
            dir: dir.clone(),
            code: job.work.code,
            types: (job.work.types.names)(),
            name: job.work.options.name.clone(),
            source,
            context: job.work.context().cloned(),
            initializers: self.policy.initializers.clone(),
            is_given_up: false,
        };
        job.begins_to_fail(at);
        self.chores.push(Chore::Keep(Box::new(keeping)));
        None
    }

    /// The error of the item at `at` of the job `id` is complete, as far as possible. Returns a job
    /// that this thread must end.
    pub(crate) fn kept(
        &mut self,
        id: u64,
        at: usize,
        error: TaskError,
        now: Instant,
    ) -> Option<Box<Job>> {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.has_failed_at(at);
        }
        self.ending = Some(None);
        self.item_ends(id, at, error, now);
        self.finish_if_settled(id);
        self.ending.take().flatten()
    }
}
