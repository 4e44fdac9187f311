//! Which item: its job, and its index there.
//!
//! Tests: `src/process/sched/simulated.rs`.

use crate::process::job::job_id::JobId;

/// An item of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ItemId {
    pub(crate) job: JobId,
    /// Its index in the job.
    pub(crate) at: usize,
}
