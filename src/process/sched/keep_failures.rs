//! Which items are kept as files when they fail: their errors come when the files are written.
//!
//! Another thread writes (`job::keep_failures`); meanwhile the job counts the item among its
//! readings.
//!
//! Tests: `tests/process/capsules.rs`; `src/process/sched/simulated.rs`.

use std::time::Instant;

use super::Sched;
use crate::process::job::Job;
use crate::process::job::keep_failures::{Keeping, Source};
use crate::process::job::reading::Chore;
use crate::task::TaskError;

impl Sched {
    /// Whether the items of the job `id` are kept when they fail.
    pub(super) fn keeps_failures(&self, id: u64) -> bool {
        let own = self.jobs.get(&id).map(|job| &job.work.options.keep);
        own.is_some_and(|own| own.is_some() || self.policy.keep.dir.is_some())
    }

    /// If the item at `at` of the job `id` is to be kept, has another thread do that, which brings
    /// its error later ([`kept`](Self::kept)). Otherwise returns the error.
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
            return Some(error);
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
        job.reads(at);
        self.chores.push(Chore::Keep(Box::new(keeping)));
        None
    }

    /// The item at `at` of the job `id` was kept, or could not be. Returns a job that this thread
    /// must end.
    pub(crate) fn kept(
        &mut self,
        id: u64,
        at: usize,
        error: TaskError,
        now: Instant,
    ) -> Option<Box<Job>> {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.has_read(at);
        }
        self.ending = Some(None);
        self.item_ends(id, at, error, now);
        self.finish_if_settled(id);
        self.ending.take().flatten()
    }
}
