//! Where a cell keeps its record ([`Side`]): one word, empty for most tasks.
//!
//! A `OnceLock<Box<_>>` does the same in two words, which is a sixth of an idle task's memory.
//!
//! - **T27** The pointer is null, or from `Box::into_raw` and this slot's alone. It changes once, from null, and is given back
//!   with the slot: until then whoever has the slot may read the record, and no reference to it is exclusive.
//!
//! Tests: below.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering}; // as in `OnceLock`: what is made once, no protocol

use crate::task::side::Side;

/// A place for a record, which is made when it is first asked for.
pub(in crate::task) struct SideSlot(AtomicPtr<Side>);

impl SideSlot {
    #[inline]
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The record, if it was made.
    #[inline]
    pub(in crate::task) fn get(&self) -> Option<&Side> {
        let side = self.0.load(Ordering::Acquire);
        // SAFETY: T27: it is null or valid as long as `self`, and what made it has been acquired.
        unsafe { side.as_ref() }
    }

    /// The record, made now if there is none.
    pub(super) fn get_or_make(&self) -> &Side {
        self.get().unwrap_or_else(|| self.make())
    }

    #[cold]
    fn make(&self) -> &Side {
        let new = Box::into_raw(Box::<Side>::default());
        let place = &self.0;
        let side =
            match place.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => new,
                Err(first) => {
                    // SAFETY: T27: it comes from `Box::into_raw`, and is in no slot: no other thread has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    first
                }
            };
        // SAFETY: T27: it is in the slot, and what made it has been acquired.
        unsafe { &*side }
    }
}

impl Drop for SideSlot {
    fn drop(&mut self) {
        let side = *self.0.get_mut();
        if !side.is_null() {
            // SAFETY: T27: it is this slot's alone, and the slot's last user is here.
            drop(unsafe { Box::from_raw(side) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // a thread of the test's
    fn there_is_one_record_whoever_makes_it() {
        for _ in 0..if cfg!(miri) { 10 } else { 1_000 } {
            let slot = SideSlot::new();
            assert!(slot.get().is_none());
            let address = || ptr::from_ref(slot.get_or_make()).addr();
            let (here, there) = std::thread::scope(|s| {
                let there = s.spawn(address);
                (address(), there.join().unwrap())
            });
            assert_eq!(here, there);
            assert!(slot.get().is_some_and(|side| side.name.get().is_none()));
        }
    }
}
