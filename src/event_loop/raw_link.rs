//! The reference to what others may touch of a loop, which costs the loop's own thread nothing.
//!
//! Every task has one, every timer, every socket, and nearly all of them are made and dropped on the
//! loop's thread. An `Arc` would take two locked instructions for each, and where other threads spawn, the line
//! of its count would travel between the processors with every task. So there are two counts:
//!
//! 1. The loop's thread, while the loop runs there ([`enter`]), counts in a plain word.
//! 2. Everybody else counts in an atomic one. A reference may be made on one side and dropped
//!    on the other, so each of the two words may be below what it should be, or above; only their
//!    sum is the number of references.
//! 3. The loop's own reference, the [`Owner`], weighs [`OWNER`] in the atomic word, more than
//!    there can be others: while it lives, that word is never near zero.
//! 4. When the owner goes it adds the plain word to the atomic one and takes its weight back, in one
//!    step. From then on all count in the atomic word, and who brings it to zero frees the memory.
//!
//! - **L10** A [`Link`], and an [`Owner`], points to a live [`Inner`] and counts as one in the sum of the two words (an
//!   owner as [`OWNER`]).
//! - **L11** The plain word is touched only by the thread of its owner, and only while the owner lives: by the owner
//!   itself, which cannot leave its thread, and where this thread's mark says that its loop runs here. Who
//!   enters a loop keeps its owner until he has left ([`super::current`]).
//!
//! Rejected: a count that is written only where it reaches a batch (the references of tasks that live long are never
//! evened out); a reference without a count (a task that ends late still asks which thread may drop its future).
//!
//! Checked by `checks/tests/loop_models.rs`, with a twin whose owner leaves without adding, and by all
//! of `tests/event_loop/`.
#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::loom::UnsafeCell;
use crate::loom::atomic::{AtomicU64, Ordering, fence};
use crate::sync::marker;

/// What the owner weighs.
const OWNER: u64 = 1 << 62;

struct Inner<T> {
    /// By itself in its lines of the cache: other threads write there.
    elsewhere: CachePadded<AtomicU64>,
    /// Below zero where more were made elsewhere than here.
    here: UnsafeCell<i64>,
    value: T,
}

/// A counted reference, from any thread.
pub(crate) struct Link<T>(NonNull<Inner<T>>);

// SAFETY: L10, L11: other threads reach the value by shared reference only, and may drop it; the plain word stays with its thread.
unsafe impl<T: Send + Sync> Send for Link<T> {}
// SAFETY: L10, L11: `&Link` gives the value by shared reference, and clones, which count as this one does.
unsafe impl<T: Send + Sync> Sync for Link<T> {}

/// The loop's own reference; it cannot leave its thread.
pub(crate) struct Owner<T>(NonNull<Inner<T>>);

/// Runs on this thread until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Here(*const ());

/// This thread is in the middle of `owner`'s loop, whose mark is its address: only compared, never followed.
pub(super) fn enter<T>(owner: &Owner<T>) -> Here {
    Here(marker::replace_loop(owner.0.as_ptr().cast_const().cast()))
}

impl Drop for Here {
    fn drop(&mut self) {
        marker::replace_loop(self.0);
    }
}

impl<T> Owner<T> {
    pub(super) fn new(value: T) -> Self {
        let inner = Inner {
            elsewhere: CachePadded::new(AtomicU64::new(OWNER)),
            here: UnsafeCell::new(0),
            value,
        };
        let inner = Box::into_raw(Box::new(inner));
        // SAFETY: L10 begins here: a box is not null.
        Self(unsafe { NonNull::new_unchecked(inner) })
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: L10: it lives while we count, and `self` is borrowed for as long as what is returned.
        unsafe { self.0.as_ref() }
    }

    /// Another reference.
    #[inline]
    pub(crate) fn link(&self) -> Link<T> {
        // SAFETY: L11: an owner cannot leave its thread.
        unsafe { count_here(self.inner(), 1) };
        Link(self.0)
    }
}

impl<T> Link<T> {
    #[inline]
    fn inner(&self) -> &Inner<T> {
        // SAFETY: L10: it lives while we count, and `self` is borrowed for as long as what is returned.
        unsafe { self.0.as_ref() }
    }

    /// Its loop runs on this thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        marker::current_loop() == self.0.as_ptr().cast_const().cast()
    }

    /// It is this owner's.
    #[inline]
    pub(crate) fn is_of(&self, owner: &Owner<T>) -> bool {
        self.0 == owner.0
    }

    /// As a pointer that still counts.
    pub(super) fn into_raw(self) -> *const () {
        let ptr = self.0;
        std::mem::forget(self);
        ptr.as_ptr().cast_const().cast()
    }

    /// # Safety
    /// `raw` came from `into_raw` of this type, and its count (L10) is the caller's to give away.
    pub(super) unsafe fn from_raw(raw: *const ()) -> Self {
        // SAFETY: L10: `into_raw` gave no null pointer.
        Self(unsafe { NonNull::new_unchecked(raw.cast_mut().cast()) })
    }
}

/// One more, or less.
///
/// # Safety
/// L11: this is the thread of its owner, which lives.
#[inline]
unsafe fn count_here<T>(inner: &Inner<T>, by: i64) {
    inner.here.with_mut(|here| {
        // SAFETY: L11: nobody else reads or writes it, and this thread does so in here only.
        let here = unsafe { &mut *here };
        *here = here.wrapping_add(by);
    });
}

impl<T> Clone for Link<T> {
    #[inline]
    fn clone(&self) -> Self {
        if self.is_here() {
            // SAFETY: L11: this thread's mark says so.
            unsafe { count_here(self.inner(), 1) };
        } else {
            // Relaxed: made from one that exists. 2^61 of them do not fit into memory.
            self.inner().elsewhere.fetch_add(1, Ordering::Relaxed);
        }
        Self(self.0)
    }
}

impl<T> Drop for Link<T> {
    #[inline]
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: L11: this thread's mark says so.
            unsafe { count_here(self.inner(), -1) };
        } else {
            // SAFETY: L10: this reference goes with its count, and `self` is not used any more.
            unsafe { drop_elsewhere(self.0) };
        }
    }
}

/// A reference goes that is counted in the atomic word.
///
/// # Safety
/// L10: its count is the caller's to give away, and the reference is not used again.
unsafe fn drop_elsewhere<T>(inner: NonNull<Inner<T>>) {
    // SAFETY: L10: the reference that goes counts until the subtraction.
    let before = unsafe { inner.as_ref() }
        .elsewhere
        .fetch_sub(1, Ordering::Release);
    if before == 1 {
        fence(Ordering::Acquire); // what the others did before they let go
        // SAFETY: L10: the owner has left its sum there, and this was the last that it counts.
        unsafe { free(inner) };
    }
}

/// The sum is zero.
///
/// # Safety
/// L10: that is so, and the caller has brought it there: nobody has a reference any more.
#[cold]
unsafe fn free<T>(inner: NonNull<Inner<T>>) {
    // SAFETY: L10: nobody has a reference any more (the caller's promise), and `Owner::new` got it from a box.
    drop(unsafe { Box::from_raw(inner.as_ptr()) });
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        let inner = self.inner();
        // SAFETY: L11: we are the owner, still, on its thread, and nobody writes it meanwhile.
        let here = inner.here.with(|here| unsafe { *here });
        #[cfg(loom)]
        let here = if fault::is_broken() { 0 } else { here };
        let weight = (here as u64).wrapping_sub(OWNER);
        let before = inner.elsewhere.fetch_add(weight, Ordering::AcqRel);
        if before.wrapping_add(weight) == 0 {
            // SAFETY: L10: the sum of all references is zero, and ours is not used any more.
            unsafe { free(self.0) };
        }
    }
}

impl<T> Deref for Link<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Deref for Owner<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T: fmt::Debug> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Owner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A fault on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(super) mod fault {
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<bool> = const { Cell::new(false) };
    }

    pub(in super::super) fn forget_the_local_count(on: bool) {
        BROKEN.set(on);
    }

    pub(super) fn is_broken() -> bool {
        BROKEN.get()
    }
}
