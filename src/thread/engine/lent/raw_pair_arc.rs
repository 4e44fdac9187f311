//! A value with two owners, of which the last drops it.
//!
//! It does what an `Arc` would do with a count of at most two. But the second owner costs nothing,
//! and only the owner that is dropped first writes with a locked instruction.
//!
//! - **P35** Two halves are made together, or one as if the other had gone, and each is dropped
//!   once. The one that goes first sets the flag and does not touch the value any more; the other
//!   sees the flag, and with it all that the first has done, and frees the value.
//!
//! Tests: `tests/thread/pool.rs::tasks_that_are_joined_in_any_order_and_by_others`, also under
//! Miri; `tests/trefoil-checks/tests/pool.rs::{the_last_of_two_owners_drops,
//! an_owner_that_is_alone_has_the_value_to_itself}` (loom).
#![allow(unsafe_code)]

use std::alloc::Layout;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::loom::atomic::{AtomicBool, Ordering};
use crate::sys::free_list;

/// One of the two owners.
pub(in crate::thread) struct PairArc<T: ?Sized>(pub(super) NonNull<Owned<T>>);

pub(in crate::thread) struct Owned<T: ?Sized> {
    /// The other owner is gone.
    alone: AtomicBool,
    value: T,
}

// SAFETY: P35: like an `Arc`: both threads may use the value at once, and either may drop it.
unsafe impl<T: ?Sized + Send + Sync> Send for PairArc<T> {}
// SAFETY: P35: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for PairArc<T> {}

impl<T> PairArc<T> {
    /// Both owners of a value.
    #[inline(always)]
    pub(in crate::thread) fn pair(value: T) -> (Self, Self) {
        let owned = Self::place(value, false);
        (Self(owned), Self(owned))
    }

    /// One owner of a value, as if the other had gone.
    #[inline(always)]
    pub(in crate::thread) fn alone(value: T) -> Self {
        Self(Self::place(value, true))
    }

    #[inline(always)]
    fn place(value: T, alone: bool) -> NonNull<Owned<T>> {
        let alone = AtomicBool::new(alone);
        let owned = free_list::take(Layout::new::<Owned<T>>()).cast::<Owned<T>>();
        // SAFETY: P35: `take` gave memory for this layout, and no other owner has it.
        unsafe { owned.write(Owned { alone, value }) };
        owned
    }
}

impl<T: ?Sized> PairArc<T> {
    /// Whether the other half is gone; then everything that it has done is visible.
    pub(in crate::thread) fn is_alone(&self) -> bool {
        // Acquire: pairs with the other's drop.
        self.owned().alone.load(Ordering::Acquire)
    }

    fn owned(&self) -> &Owned<T> {
        // SAFETY: P35: this half has not been dropped, so the value has not been freed.
        unsafe { self.0.as_ref() }
    }
}

impl<T: ?Sized> Deref for PairArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.owned().value
    }
}

impl<T: ?Sized> Drop for PairArc<T> {
    fn drop(&mut self) {
        // Release: what this owner has done is visible to the other; Acquire: what the other has,
        // to this one.
        if self.is_alone() || self.owned().alone.swap(true, Ordering::AcqRel) {
            let _memory = PairMemory(self.0.cast(), Layout::for_value(self.owned()));
            // SAFETY: P35: the other half is gone, so this is the last, and `pair` has put the
            // value there.
            unsafe { self.0.drop_in_place() };
        }
    }
}

/// The memory of a value that is being dropped. It is given back even if the value's destructor
/// panics.
struct PairMemory(NonNull<u8>, Layout);

impl Drop for PairMemory {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: P35: `pair` took it from a free list with this layout, and the last owner gives
        // it away.
        unsafe { free_list::give(self.0, self.1) };
    }
}
