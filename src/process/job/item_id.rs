//! Which item: its job, and its index there.
//!
//! Tests: `src/process/sched/simulated.rs`.

/// The job of a worker's initializer; no caller's has this id.
pub(crate) const INITIALIZE: u64 = 0;

/// An item of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ItemId {
    pub(crate) job: u64,
    /// Its index in the job.
    pub(crate) at: usize,
}
