//! What an executor's queue has of a task: an entry, a task that has yielded, or either of them in one pointer.
//!
//! A queue can be long, and is read and written for every poll. Cells are aligned, so which of the
//! two it is fits into the lowest bit.
//!
//! - **T18** The pointer is that of an entry's reference (T6), or, with the lowest bit set, that of a
//!   [`Yielded`]'s, with its right (T16); a header's address has that bit clear.
//!
//! Tests: `tests/event_loop/yields.rs`.
#![allow(unsafe_code)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::{Header, Ref};
use crate::task::TaskError;
use crate::task::runnable::Ran;

/// A task that wants to run: one pointer, one reference.
pub(crate) struct Runnable(Ref);

impl Runnable {
    /// # Safety
    /// T11: SCHEDULED is set, no other entry was made for it, and the reference is the entry's.
    #[inline]
    pub(super) unsafe fn from_ref(cell: Ref) -> Self {
        Self(cell)
    }

    #[inline]
    pub(in crate::task) fn cell(&self) -> &Ref {
        &self.0
    }
}

/// A task that is still running, as far as others see (T16): it wants to go on when those had their turn
/// that are ready now.
///
/// Dropped, it ends in `Closed`, as an entry does.
pub(crate) struct Yielded(Ref);

#[allow(dead_code)] // the event loop's
impl Yielded {
    /// # Safety
    /// T16: the caller has RUNNING and gives it away, and the future is in place.
    #[inline]
    pub(super) unsafe fn from_ref(cell: Ref) -> Self {
        Self(cell)
    }

    /// The reference with its right: it is consumed.
    #[inline]
    fn into_ref(self) -> Ref {
        let yielded = ManuallyDrop::new(self);
        // SAFETY: T6, T16: `yielded` is never used or dropped again, so its count becomes ours, and its right.
        unsafe { std::ptr::read(&raw const yielded.0) }
    }

    /// Polls the future once more. Never unwinds.
    #[inline]
    pub(crate) fn run(self) -> Ran {
        // SAFETY: T16: reference and right are those of this one, which is consumed.
        unsafe { self.into_ref().resume() }
    }
}

impl Drop for Yielded {
    fn drop(&mut self) {
        // SAFETY: T16: the right is this one's, which goes; the reference is another of the same cell (T6), and ours goes after it.
        unsafe { self.0.clone().give_up(TaskError::Closed) };
    }
}

impl fmt::Debug for Yielded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Yielded").field(&self.0.header().id).finish()
    }
}

const YIELDED: usize = 1;
const _: () = assert!(align_of::<Header>() > YIELDED);

/// A task in a queue; dropped, it ends in `Closed`.
pub(crate) struct Queued(NonNull<Header>);

// SAFETY: T18: it is a counted reference with the rights of an entry or of a `Yielded`, all of which are `Send` (see `Ref`).
unsafe impl Send for Queued {}
// SAFETY: T18: as above; `&Queued` gives a look at atomics only.
unsafe impl Sync for Queued {}

#[allow(dead_code)] // the event loop's
impl Queued {
    /// A new task, or one that was woken.
    #[inline]
    pub(crate) fn woken(entry: Runnable) -> Self {
        Self(Ref::from_entry(entry).into_raw())
    }

    /// One that has woken itself.
    #[inline]
    pub(crate) fn yielded(yielded: Yielded) -> Self {
        let cell = yielded.into_ref().into_raw();
        Self(cell.map_addr(|address| address | YIELDED))
    }

    #[inline]
    fn has_yielded(&self) -> bool {
        self.0.addr().get() & YIELDED != 0
    }

    /// A look at the cell, without its count.
    #[inline]
    fn cell(&self) -> ManuallyDrop<Ref> {
        let cell = self.0.as_ptr().map_addr(|address| address & !YIELDED);
        // SAFETY: T18: without the bit it is a header's address, which is not null.
        let cell = unsafe { NonNull::new_unchecked(cell) };
        // SAFETY: T18: `self` has a count of that cell, and what is returned is not dropped while `self` has it.
        ManuallyDrop::new(unsafe { Ref::from_raw(cell) })
    }

    /// The cell with its count, and whether it has yielded.
    #[inline]
    fn into_parts(self) -> (Ref, bool) {
        let queued = ManuallyDrop::new(self);
        let cell = ManuallyDrop::into_inner(queued.cell()); // T18: `queued` is not dropped
        (cell, queued.has_yielded())
    }

    /// As [`Runnable::run`] and [`Yielded::run`].
    #[inline]
    pub(crate) fn run(self) -> Ran {
        match self.into_parts() {
            (cell, false) => cell.run(),
            // SAFETY: T16, T18: the bit says that reference and right came from a `Yielded`.
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

    /// As [`Runnable::tag`].
    #[inline]
    pub(crate) fn tag(&self) -> u32 {
        self.cell().tag()
    }

    /// As [`Runnable::task_ref`].
    pub(crate) fn task_ref(&self) -> crate::task::TaskRef {
        crate::task::TaskRef(Ref::clone(&self.cell()))
    }

    /// It will be run soon.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.cell().prefetch();
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let cell = ManuallyDrop::into_inner(self.cell()); // T18: this is its end
        if self.has_yielded() {
            // SAFETY: T16, T18: the bit says that reference and right came from a `Yielded`.
            drop(unsafe { Yielded::from_ref(cell) });
        } else {
            // SAFETY: T11, T18: it came from an entry, which was consumed.
            drop(unsafe { Runnable::from_ref(cell) });
        }
    }
}

impl fmt::Debug for Queued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queued")
            .field(&self.cell().header().id)
            .finish()
    }
}
