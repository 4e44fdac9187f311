//! What an executor's queue has of a task: an entry, or a task that has yielded, in one pointer.
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
use crate::task::runnable::{Ran, Runnable, Yielded};

const YIELDED: usize = 1;
const _: () = assert!(align_of::<Header>() > YIELDED);

/// A task in a queue; dropped, it ends in `Closed`.
pub(crate) struct Queued(NonNull<Header>);

// SAFETY: T18: it is a counted reference, which is `Send` (see `Ref`).
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
        let cell = Ref::from_yielded(yielded).into_raw();
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
        // SAFETY: T18: without the bit it is a header's address.
        ManuallyDrop::new(Ref::from_raw(unsafe { NonNull::new_unchecked(cell) }))
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
            (cell, true) => cell.resume(),
        }
    }

    /// As [`Runnable::discard`].
    pub(crate) fn discard(self, reason: TaskError) {
        match self.into_parts() {
            (cell, false) => cell.discard(reason),
            (cell, true) => cell.give_up(reason),
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
            drop(Yielded::from_ref(cell));
        } else {
            drop(Runnable::from_ref(cell));
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
