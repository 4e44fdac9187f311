//! What an executor does with a [`Runnable`], an entry of its queue: run it, discard it, drop it.
//!
//! An executor makes a [`Runnable`] for its own queue and a `Task` for the caller; whatever wakes a
//! future later hands a new entry to its `Schedule`. If another thread has run the task meanwhile
//! (a waiter that claimed it) or cancelled it, the entry is *stale*: running it does nothing. So
//! executors need to know nothing of results, panics, cancellation or waiters.
//!
//! An entry that is dropped instead of run ends its task in `Closed`, so an executor that ends
//! leaves no thread waiting.
//!
//! Tests: `tests/event_loop/yields.rs`,
//! `tests/trefoil-checks/tests/models.rs::{dropped_entry_vs_join, yield_vs_cancel}`.
#![allow(unsafe_code)]

use std::ops::Deref;

use super::header::{Header, Ran, Runnable, TaskRef, YIELDED};
use crate::loom::atomic::Ordering;
use crate::sys::prefetch;
use crate::task::error::TaskError;
use crate::task::state::Start;

impl Runnable {
    /// The entry of a task that has woken itself during its poll: other threads still see it as
    /// running, and it is polled again after the tasks that are ready now.
    ///
    /// # Safety
    /// T16: the caller has RUNNING and gives it away, and the future is in place. T18: its executor
    /// keeps the entry itself.
    #[inline]
    pub(super) unsafe fn yielded(cell: TaskRef) -> Self {
        let tag = &cell.header().tag;
        tag.store(tag.load(Ordering::Relaxed) | YIELDED, Ordering::Relaxed);
        // SAFETY: T11, T16: it has the rights of an entry, and there is no other one while the task
        // is running.
        unsafe { Self::from_ref(cell) }
    }

    /// The reference of this entry, and what the caller must do with it.
    #[inline]
    fn start(self) -> (TaskRef, Start) {
        let cell = self.into_ref();
        let Header { tag, state, .. } = cell.header();
        prefetch::will_write(state); // another thread may have made the task
        let word = tag.load(Ordering::Relaxed);
        let start = if word & YIELDED != 0 {
            tag.store(word & !YIELDED, Ordering::Relaxed); // T18
            state.resume()
        } else {
            state.start()
        };
        (cell, start)
    }

    /// Calls the closure, or polls the future once. Never unwinds.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        match self.start() {
            // SAFETY: T1: `start` has just set RUNNING, for us, or it came with the entry (T16);
            // the work is there (T8).
            (cell, Start::Run) => unsafe { cell.run_started() },
            (cell, Start::Cancelled) => {
                // SAFETY: T1: as above.
                unsafe { cell.abandon(TaskError::Cancelled) };
                Ran::Done
            }
            (_, Start::Stale) => Ran::Done,
        }
    }

    /// Drops the work without running it; the task ends in `reason`, unless another thread has run
    /// or ended it.
    pub(crate) fn discard(self, reason: TaskError) {
        match self.start() {
            // SAFETY: T1: as in `run`.
            (cell, Start::Run) => unsafe { cell.abandon(reason) },
            // SAFETY: T1: as in `run`; the work is left to drop here, too.
            (cell, Start::Cancelled) => unsafe { cell.abandon(TaskError::Cancelled) },
            (_, Start::Stale) => {}
        }
    }

    /// Whether the task has ended without this entry: running it does nothing.
    pub(crate) fn is_stale(&self) -> bool {
        self.cell().header().state.is_done()
    }

    /// Whether something waits for the task's end: a thread, another task, or a callback. A hint.
    pub(crate) fn is_awaited(&self) -> bool {
        self.cell().header().state.is_awaited()
    }
}

impl Deref for Runnable {
    type Target = TaskRef;

    #[inline]
    fn deref(&self) -> &TaskRef {
        self.cell()
    }
}

impl Drop for Runnable {
    #[cold]
    #[inline(never)] // it is dropped in many places, and nearly never
    fn drop(&mut self) {
        // SAFETY: T11: this entry's right goes to the new one; `self` is not used again, and only
        // its reference is left.
        let entry = unsafe { Self::from_ref(self.cell().clone()) };
        entry.discard(TaskError::Closed);
    }
}

debug!(impl Runnable, self, id = self.id());
