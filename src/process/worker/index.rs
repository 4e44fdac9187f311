//! Which worker of its pool this process is.
//!
//! Tests: `tests/process/places.rs`.

use std::sync::OnceLock;

/// Set by the parent's first frame.
pub(super) static INDEX: OnceLock<usize> = OnceLock::new();

/// The index of this worker process in its pool: below the largest number of workers that the pool
/// has had ([`set_workers`](crate::ProcessPool::set_workers)), and of no other worker, except one
/// that it replaces and that is about to leave
/// ([`replace_first`](crate::ProcessPoolBuilder::replace_first)). A worker that takes the place of
/// another has its index. `None` in a process that is not a worker (a process that an item forks
/// has its worker's).
///
/// It is known from the [initializer](crate::ProcessPoolBuilder::initializer) on, on every kind of
/// worker, on other machines too. To choose an environment by it, see
/// [`env_for`](crate::ProcessPoolBuilder::env_for).
///
/// ```
/// use trefoil::ProcessPool;
/// use trefoil::process::worker_index;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(2)?;
/// let index = procs.spawn((), |()| worker_index()).join()?;
/// assert!(index < Some(2));
/// assert_eq!(worker_index(), None, "this is no worker");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn worker_index() -> Option<usize> {
    INDEX.get().copied()
}
