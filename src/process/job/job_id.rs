//! Which job of a pool.
//!
//! Tests: `src/process/sched/simulated.rs`.

/// The job of a worker's initializer; no caller's has this id.
pub(crate) const INITIALIZE: JobId = JobId(0);

/// The number of a job: later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct JobId(u64);

impl JobId {
    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// What it is called elsewhere: in a worker, its context has this number.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}
