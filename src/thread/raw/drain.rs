//! The elements of a vector on their way out, by value, from several threads.
//!
//! **Job.** `map` over a `Vec` moves each element into the closure. The vector
//! stays where it is; disjoint parts of it are handed out, and each part moves its
//! elements out one by one, or drops what is left.
//!
//! - **P17** The parts of one vector are disjoint, together they are the whole,
//!   and each element is owned by exactly one part: `split_at` divides, `next`
//!   moves the first out of the part, `drop` drops the rest.
//! - **P18** The vector's own length is zero while there are parts, and its buffer
//!   outlives them: they borrow the [`Emptied`] that owns it.
//!
//! Rejected: `Vec<Option<T>>`, or splitting the vector into several (copies).
//!
//! Tests: `tests/thread/pool.rs` (drops counted after panics), and below.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// A vector whose elements belong to its parts.
pub(in crate::thread) struct Emptied<T> {
    buffer: Vec<T>,
    len: usize,
    taken: bool,
}

impl<T> Emptied<T> {
    pub(in crate::thread) fn new(mut vec: Vec<T>) -> Self {
        let len = vec.len();
        // SAFETY: P18: zero is within the capacity and has no elements.
        unsafe { vec.set_len(0) };
        Self {
            buffer: vec,
            len,
            taken: false,
        }
    }

    /// All elements. Afterwards there are none left.
    pub(in crate::thread) fn part(&mut self) -> Part<'_, T> {
        let len = if self.taken { 0 } else { self.len };
        self.taken = true;
        // A vector's pointer is never null.
        let start = NonNull::new(self.buffer.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Part {
            start,
            len,
            vec: PhantomData,
        }
    }
}

impl<T> Drop for Emptied<T> {
    fn drop(&mut self) {
        // Only if no part was ever made: otherwise it is empty.
        drop(self.part());
    }
}

/// Some neighbouring elements, owned. Drops those that are not taken.
pub(in crate::thread) struct Part<'a, T> {
    start: NonNull<T>,
    len: usize,
    vec: PhantomData<&'a mut [T]>,
}

// SAFETY: P17: a part owns its elements, alone; sending it sends them.
unsafe impl<T: Send> Send for Part<'_, T> {}

impl<T> Part<'_, T> {
    pub(in crate::thread) fn len(&self) -> usize {
        self.len
    }

    /// The first `at` elements (all, if there are fewer), and the rest.
    pub(in crate::thread) fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.min(self.len);
        let (start, len) = (self.start, self.len);
        // The two parts take over from this one (P17).
        std::mem::forget(self);
        // SAFETY: P17: at is at most len, so this is inside or at the end of the buffer.
        let middle = unsafe { start.add(at) };
        (
            Self {
                start,
                len: at,
                vec: PhantomData,
            },
            Self {
                start: middle,
                len: len - at,
                vec: PhantomData,
            },
        )
    }
}

impl<T> Iterator for Part<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let first = self.start;
        // SAFETY: P17: there is at least one element, so one further is inside
        // or at the end of the buffer.
        self.start = unsafe { first.add(1) };
        self.len -= 1;
        // SAFETY: P17: the element is initialised and no longer of this part.
        Some(unsafe { first.read() })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<T> Drop for Part<'_, T> {
    fn drop(&mut self) {
        let rest = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: P17: these are the elements that nobody has taken.
        unsafe { ptr::drop_in_place(rest) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loom::Arc;

    #[test]
    fn every_element_is_dropped_once_whoever_owns_it() {
        let token = Arc::new(());
        let vec: Vec<_> = (0..10).map(|_| Arc::clone(&token)).collect();
        let mut emptied = Emptied::new(vec);
        let (left, right) = emptied.part().split_at(4);
        let (mut near, far) = right.split_at(100);
        assert_eq!((left.len(), near.len(), far.len()), (4, 6, 0));
        let kept = near.next();
        drop(far);
        std::thread::scope(|s| {
            s.spawn(|| assert_eq!(left.count(), 4));
            s.spawn(move || drop(near));
        });
        assert_eq!(Arc::strong_count(&token), 2);
        drop(kept);
        assert_eq!(emptied.part().count(), 0);
        drop(emptied);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn elements_that_were_never_handed_out_are_dropped() {
        let token = Arc::new(());
        drop(Emptied::new(vec![Arc::clone(&token); 3]));
        assert_eq!(Arc::strong_count(&token), 1);
        assert_eq!(Emptied::new(vec![(); 5]).part().split_at(2).1.count(), 3);
    }
}
