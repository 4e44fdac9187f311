//! The hook for a failed item that runs on this thread, and what it may wait for.
//!
//! It may wait for everything but its own call, which ends after it: joining that is `WouldBlock`,
//! as is the next result of an `Imap`, and to end its own pool it does not wait. The calls that it
//! makes have no hook: otherwise hooks that wait for one another could take all readers.
//!
//! Tests: `tests/process/failures.rs::a_hook_may_wait_for_other_calls`.

use crate::process::job::job_id::JobId;
use std::cell::Cell;

use crate::loom::per_thread;

per_thread! {
    static RUNNING: Cell<Option<RunningHook>> = Cell::new(None);
}

/// The pool and the job of the item that the hook has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningHook {
    pub(crate) pool: u32,
    pub(crate) job: JobId,
}

impl RunningHook {
    /// `None`: no hook runs on this thread.
    #[inline]
    pub(crate) fn here() -> Option<Self> {
        RUNNING.try_with(Cell::get).ok().flatten()
    }

    /// Calls `report` as this hook.
    pub(super) fn during<R>(self, report: impl FnOnce() -> R) -> R {
        let _ = RUNNING.try_with(|running| running.set(Some(self)));
        let returned = report();
        let _ = RUNNING.try_with(|running| running.set(None));
        returned
    }
}
