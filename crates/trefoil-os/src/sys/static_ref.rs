//! A reference that any thread may replace, and any may read.
//!
//! **Job.** A table of what happens now has words that one thread writes while others read them.
//! Some of these words are references to what lives as long as the program: a `Location`. A
//! reference in an atomic pointer needs `unsafe` to become a reference again: here.
//!
//! - **Y99** The pointer in a [`StaticRef`] was made of a `&'static T` with `T: Sync`, always.
//!
//! Tests: below.
#![allow(unsafe_code)]

use std::fmt;
use std::ptr;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
}; // one word: no protocol

/// A word with a `&'static T`.
pub struct StaticRef<T: Sync + 'static>(AtomicPtr<T>);

impl<T: Sync> StaticRef<T> {
    /// A word with this reference.
    #[inline]
    pub const fn new(to: &'static T) -> Self {
        Self(AtomicPtr::new(ptr::from_ref(to).cast_mut()))
    }

    /// Replaces the reference.
    #[inline]
    pub fn set(&self, to: &'static T) {
        self.0.store(ptr::from_ref(to).cast_mut(), Release);
    }

    /// The reference.
    #[inline]
    pub fn get(&self) -> &'static T {
        let to = self.0.load(Acquire);
        // SAFETY: Y99: it was a `&'static T`, and `T` is `Sync`, so this thread may have it, too;
        // the load has acquired what the thread that has stored it saw of the `T`.
        unsafe { &*to }
    }
}

impl<T: Sync> fmt::Debug for StaticRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticRef")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reference_is_read() {
        static ONE: u32 = 1;
        static TWO: u32 = 2;
        let word = StaticRef::new(&ONE);
        assert_eq!(word.get(), &1);
        word.set(&TWO);
        assert_eq!(word.get(), &2);
    }
}
