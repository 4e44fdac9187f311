//! Where threads leave memory of cells for one another, a list at a time.
//!
//! A few places, each a pointer to a list or null. A list goes in by a compare-exchange of null ([`Shelf::put`]), and comes out by an
//! exchange with null ([`Shelf::take`]). There is no lock, so nothing waits for one, also not in a child that was forked
//! meanwhile; and nothing is ever read through a pointer that was not taken out, so it makes no difference if
//! one that was taken is back by then.
//!
//! - **T24** A list that was put here is taken out once, by a thread that sees all that was written to it before.
//!
//! Checked by `checks/tests/models.rs`, with a twin whose `take` looks and stores in two steps.

use std::ptr::{self, NonNull};

use crate::loom::atomic::{AtomicPtr, Ordering};

/// So many places for lists that begin with a `T`.
#[derive(Debug)]
pub(in crate::task) struct Shelf<T, const PLACES: usize>([AtomicPtr<T>; PLACES]);

impl<T, const PLACES: usize> Shelf<T, PLACES> {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; PLACES])
    }

    #[cfg(loom)]
    pub(in crate::task) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())))
    }

    /// False: there is no place for it.
    pub(in crate::task) fn put(&self, list: *mut T) -> bool {
        self.0.iter().any(|place| {
            place.load(Ordering::Relaxed).is_null()
                // Releases what was written to the list, for the thread that takes it.
                && place
                    .compare_exchange(ptr::null_mut(), list, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
        })
    }

    /// A list, if there is one.
    pub(in crate::task) fn take(&self) -> Option<NonNull<T>> {
        self.0.iter().find_map(|place| {
            let list = place.load(Ordering::Relaxed);
            if list.is_null() {
                return None;
            }
            #[cfg(loom)]
            if fault::takes_in_two_steps() {
                let list = place.load(Ordering::Acquire);
                place.store(ptr::null_mut(), Ordering::Relaxed);
                return NonNull::new(list);
            }
            NonNull::new(place.swap(ptr::null_mut(), Ordering::Acquire)) // pairs with `put`
        })
    }
}

/// A fault on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(in crate::task) mod fault {
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<bool> = const { Cell::new(false) };
    }

    pub(in crate::task) fn take_in_two_steps(on: bool) {
        BROKEN.set(on);
    }

    pub(super) fn takes_in_two_steps() -> bool {
        BROKEN.get()
    }
}
