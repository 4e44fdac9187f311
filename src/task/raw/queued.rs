//! What an executor does with the entries of its queue.
//!
//! An executor makes a [`Runnable`] for its own queue and a `Task` for the caller; whatever wakes a future later hands a new
//! entry to its `Schedule`. An entry that another thread has run meanwhile (a waiter that claimed it, a canceller) is
//! *stale*: running it does nothing. So executors need to know nothing of results, panics, cancellation or waiters.
//!
//! An entry that is dropped instead of run ends its task in `Closed`: an executor that goes away leaves no waiter behind.
//!
//! Tests: `tests/event_loop/yields.rs`, `checks/tests/models.rs`.
#![allow(unsafe_code)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use super::header::{Header, Queued, Ran, Runnable, TaskRef};
use crate::task::error::TaskError;

impl Runnable {
    /// Calls the closure, or polls the future once. Never unwinds.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        self.into_ref().run()
    }

    /// Drops the work unrun; the task ends in `reason`.
    pub(crate) fn discard(self, reason: TaskError) {
        self.into_ref().discard(reason);
    }

    /// The task has ended without this entry: running it does nothing.
    pub(crate) fn is_stale(&self) -> bool {
        self.cell().header().state.is_done()
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
    fn drop(&mut self) {
        if !self.cell().header().state.is_stale() {
            self.cell().clone().discard(TaskError::Closed);
        }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable").field(&self.id()).finish()
    }
}

const YIELDED: usize = 1;
const _: () = assert!(align_of::<Header>() > YIELDED);

impl Queued {
    /// A new task, or one that was woken.
    #[inline]
    pub(crate) fn woken(entry: Runnable) -> Self {
        Self(entry.into_ref().into_raw())
    }

    /// A task that is still running, as far as others see: it has woken itself, and wants to go on when those had their turn
    /// that are ready now.
    ///
    /// # Safety
    /// T16: the caller has RUNNING and gives it away, and the future is in place.
    #[inline]
    pub(super) unsafe fn yielded(cell: TaskRef) -> Self {
        Self(cell.into_raw().map_addr(|address| address | YIELDED))
    }

    #[inline]
    fn has_yielded(&self) -> bool {
        self.0.addr().get() & YIELDED != 0
    }

    /// A look at the cell, without its count.
    #[inline]
    fn cell(&self) -> ManuallyDrop<TaskRef> {
        let cell = self.0.as_ptr().map_addr(|address| address & !YIELDED);
        // SAFETY: T18: without the bit it is a header's address, which is not null.
        let cell = unsafe { NonNull::new_unchecked(cell) };
        // SAFETY: T18: `self` has a count of that cell, and what is returned is not dropped while `self` has it.
        ManuallyDrop::new(unsafe { TaskRef::from_raw(cell) })
    }

    /// The cell with its count, and whether it has yielded.
    #[inline]
    fn into_parts(self) -> (TaskRef, bool) {
        let queued = ManuallyDrop::new(self);
        let cell = ManuallyDrop::into_inner(queued.cell()); // T18: `queued` is not dropped
        (cell, queued.has_yielded())
    }

    /// As [`Runnable::run`].
    #[inline]
    pub(crate) fn run(self) -> Ran {
        match self.into_parts() {
            (cell, false) => cell.run(),
            // SAFETY: T16, T18: the bit says that reference and right are those of a task that has yielded.
            (cell, true) => unsafe { cell.resume() },
        }
    }

    /// As [`Runnable::discard`].
    pub(crate) fn discard(self, reason: TaskError) {
        match self.into_parts() {
            (cell, false) => cell.discard(reason),
            // SAFETY: T16, T18: as in `run`.
            (cell, true) => unsafe { cell.give_up(reason) },
        }
    }

    /// As [`TaskRef::tag`].
    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        self.cell().tag()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        Self(self.0).discard(TaskError::Closed); // T18: `self` is not used again
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queued").field(&self.cell().id()).finish()
    }
}
