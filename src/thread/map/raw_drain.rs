//! Moves the elements out of a vector, by value, from several threads.
//!
//! **Job.** `map` over a `Vec` moves each element into the closure. The vector stays in place; it
//! is divided into disjoint parts, and each part moves its elements out one by one, or drops the
//! rest.
//!
//! - **P17** The parts of one vector are disjoint, together they are the whole, and each element is
//!   owned by exactly one part: `split_at` divides, `next` moves the first out of the part, `drop`
//!   drops the rest.
//! - **P18** The vector has forgotten its elements before the first part is made (they are in its
//!   spare capacity), and its buffer outlives the parts: they borrow it.
//!
//! Rejected: `Vec<Option<T>>`, or splitting the vector into several (copies).
//!
//! Tests: below; `tests/thread/pool.rs::a_panic_in_map_drops_everything_once_and_is_the_lowest`.
#![allow(unsafe_code)]

use std::mem::{self, MaybeUninit};
use std::ptr;
use std::slice;

/// A run of owned elements. Drops those that are not taken.
#[derive(Debug)]
pub struct DrainPart<'a, T>(slice::IterMut<'a, MaybeUninit<T>>);

/// All elements of `vec`, which is empty from now on.
pub(in crate::thread) fn drain<T>(vec: &mut Vec<T>) -> DrainPart<'_, T> {
    let len = vec.len();
    // SAFETY: P18: none of them is the vector's any more; that leaves them initialised.
    unsafe { vec.set_len(0) };
    DrainPart(vec.spare_capacity_mut()[..len].iter_mut())
}

impl<T> DrainPart<'_, T> {
    pub(in crate::thread) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first `at` elements (all, if there are fewer), and the rest.
    pub(in crate::thread) fn split_at(mut self, at: usize) -> (Self, Self) {
        // The two parts take over from this one (P17).
        let elements = mem::take(&mut self.0).into_slice();
        let (near, far) = elements.split_at_mut(at.min(elements.len()));
        (DrainPart(near.iter_mut()), DrainPart(far.iter_mut()))
    }
}

impl<T> Iterator for DrainPart<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let first = self.0.next()?;
        // SAFETY: P17: the element is initialised and no longer of this part.
        Some(unsafe { first.assume_init_read() })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }

    /// Drops the first `n`, which costs nothing if they have no destructor.
    fn nth(&mut self, n: usize) -> Option<T> {
        let (passed, rest) = DrainPart(mem::take(&mut self.0)).split_at(n);
        *self = rest; // before a destructor that panics
        drop(passed);
        self.next()
    }
}

impl<T> DoubleEndedIterator for DrainPart<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        let last = self.0.next_back()?;
        // SAFETY: P17: the element is initialised and no longer of this part.
        Some(unsafe { last.assume_init_read() })
    }

    fn nth_back(&mut self, n: usize) -> Option<T> {
        let at = self.len().saturating_sub(n);
        let (rest, passed) = DrainPart(mem::take(&mut self.0)).split_at(at);
        *self = rest;
        drop(passed);
        self.next_back()
    }
}

impl<T> Drop for DrainPart<'_, T> {
    fn drop(&mut self) {
        let rest = ptr::from_mut(mem::take(&mut self.0).into_slice()) as *mut [T];
        // SAFETY: P17: these are the elements that no part has given out.
        unsafe { ptr::drop_in_place(rest) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loom::Arc;

    #[test]
    fn every_element_is_dropped_once_whichever_part_owns_it() {
        let token = Arc::new(());
        let mut vec: Vec<_> = (0..10).map(|_| Arc::clone(&token)).collect();
        let (left, right) = drain(&mut vec).split_at(4);
        let (mut near, far) = right.split_at(100);
        assert_eq!((left.len(), near.len(), far.len()), (4, 6, 0));
        let kept = (near.next(), near.next_back());
        drop(far);
        std::thread::scope(|s| {
            s.spawn(|| assert_eq!(left.count(), 4));
            s.spawn(move || drop(near));
        });
        assert_eq!(Arc::strong_count(&token), 3);
        drop((kept, vec));
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn elements_that_are_not_taken_are_dropped_and_need_no_size() {
        let token = Arc::new(());
        drop(drain(&mut vec![Arc::clone(&token); 3]));
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(drain(&mut vec![(); 5]).split_at(2).1.count(), 3);
    }
}
