//! The two ways in which a pool may end, by name.
//!
//! What they do: `thread/engine/registry/shutdown.rs`, `process/sched/shutdown.rs`.

use super::error::TaskError;

/// What a pool does with the work that it has not started when it is shut down.
///
/// ```
/// use trefoil::{Shutdown, TaskError, ThreadPool};
///
/// let pool = ThreadPool::with_threads(1);
/// let task = pool.spawn(|| 6 * 7);
/// pool.shutdown(Shutdown::Wait);
/// assert_eq!(task.join().unwrap(), 42);
/// assert!(matches!(pool.spawn(|| 0).join(), Err(TaskError::Closed)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shutdown {
    /// Run what was spawned before, and not what comes later. (A future of a thread pool that still
    /// waits then is ended.)
    Wait,
    /// What is queued ends in [`TaskError::Cancelled`]. (A thread pool runs what a caller waits
    /// for, such as a `map`, and all of a `map_task` that has begun.)
    CancelPending,
}

impl Shutdown {
    /// In what the tasks end that are not run any more.
    pub(crate) fn reason(self) -> TaskError {
        match self {
            Self::Wait => TaskError::Closed,
            Self::CancelPending => TaskError::Cancelled,
        }
    }
}
