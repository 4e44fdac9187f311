//! Fills the unused capacity of a vector in place, from several threads.
//!
//! **Job.** `map` allocates its result once. Each part of the region owns the places of its
//! results, fills them from the left, and finally returns the filled part; neighbours are joined;
//! if all is filled, the vector's length is set. On a failure, filled parts drop their results.
//!
//! - **P19** The places of one vector are divided, as in P17: each place belongs to one
//!   [`UnfilledPart`], or to one [`FilledPart`] once it is written, and what a `FilledPart` counts
//!   is initialised and owned by it.
//! - **P20** The vector's buffer is not touched, moved or freed while places or filled parts of it
//!   exist: they borrow it.
//!
//! Rejected: a vector per part, concatenated at the end (a copy of everything).
//!
//! Tests: `tests/thread/pool.rs` (order, drops counted after panics).
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::{ptr, slice};

use crate::sys::large_pages;

/// A part of the vector to fill: places for results, of which the first `filled` hold some.
pub(in crate::thread) struct UnfilledPart<'a, R> {
    start: *mut R,
    len: usize,
    filled: usize,
    buffer: PhantomData<&'a mut [R]>,
}

/// Results in their places.
pub(in crate::thread) struct FilledPart<'a, R> {
    start: *mut R,
    len: usize,
    buffer: PhantomData<&'a mut [R]>,
}

// SAFETY: P19: it owns its places and what it has pushed, alone; sending it sends them.
unsafe impl<R: Send> Send for UnfilledPart<'_, R> {}
// SAFETY: P19: it owns its results, alone; sending it sends them.
unsafe impl<R: Send> Send for FilledPart<'_, R> {}

impl<'a, R> UnfilledPart<'a, R> {
    /// The first `len` places behind the elements of a vector, which has room for them.
    fn of(vec: &'a mut Vec<R>, len: usize) -> Self {
        let room = &mut vec.spare_capacity_mut()[..len];
        Self::new(room.as_mut_ptr().cast(), len)
    }

    /// The places of a buffer that is borrowed for `'a` (P20).
    fn new(start: *mut R, len: usize) -> Self {
        Self {
            start,
            len,
            filled: 0,
            buffer: PhantomData,
        }
    }

    /// Splits the places into two neighbours, the left one with `at` places.
    ///
    /// # Panics
    /// If anything has been pushed (P19: it would belong to neither).
    pub(in crate::thread) fn split_at(self, at: usize) -> (Self, Self) {
        assert_eq!(self.filled, 0, "results were pushed before the split");
        let at = at.min(self.len);
        self.divide(at)
    }

    /// The first `at` places, none of which counts as filled, and the others.
    fn divide(self, at: usize) -> (Self, Self) {
        let this = ManuallyDrop::new(self);
        debug_assert!(at <= this.len);
        // SAFETY: P19: no more than there are places, so inside the buffer or at its end.
        let middle = unsafe { this.start.add(at) };
        let right = Self::new(middle, this.len - at);
        (Self::new(this.start, at), right)
    }

    /// Writes results into the next places; no more of them than there are places.
    #[inline]
    pub(in crate::thread) fn extend(&mut self, results: impl Iterator<Item = R>) {
        // SAFETY: P19: no more are filled than there are, so inside the buffer or at its end.
        let start = unsafe { self.start.add(self.filled) };
        // SAFETY: P19, P20: these places are ours alone, and stay while we exist.
        let free = unsafe { slice::from_raw_parts_mut(start.cast(), self.len - self.filled) };
        for (place, result) in free.iter_mut().zip(results) {
            let place: &mut MaybeUninit<R> = place;
            place.write(result);
            self.filled += 1;
        }
    }

    pub(in crate::thread) fn filled(&self) -> usize {
        self.filled
    }

    /// The filled part, and the places that are left.
    pub(in crate::thread) fn split_filled(self) -> (FilledPart<'a, R>, Self) {
        let filled = self.filled;
        let (left, rest) = self.divide(filled);
        let filled = FilledPart {
            start: left.start,
            len: left.len,
            buffer: PhantomData,
        };
        (filled, rest)
    }
}

impl<R> Drop for UnfilledPart<'_, R> {
    /// While unwinding: drops the results that were written and not split off.
    fn drop(&mut self) {
        let filled = ptr::slice_from_raw_parts_mut(self.start, self.filled);
        // SAFETY: P19: the first `filled` places are initialised and of this part.
        unsafe { ptr::drop_in_place(filled) };
    }
}

impl<R> FilledPart<'_, R> {
    /// Joins two parts. If something between them has not been filled, the right one is dropped:
    /// the region has failed. (It is dropped before the left one is returned: a destructor that
    /// panics would lose that.)
    pub(in crate::thread) fn join(mut self, right: Self) -> Self {
        // SAFETY: P19: one past the last of these results is inside the buffer or at its end.
        let end = unsafe { self.start.add(self.len) };
        if ptr::eq(end, right.start) {
            self.len += right.len;
            std::mem::forget(right);
        } else {
            drop(right);
        }
        self
    }
}

impl<R> Drop for FilledPart<'_, R> {
    fn drop(&mut self) {
        let results = ptr::slice_from_raw_parts_mut(self.start, self.len);
        // SAFETY: P19: it owns exactly these.
        unsafe { ptr::drop_in_place(results) };
    }
}

/// Makes room for `len` more elements; asks for large pages if that is much.
#[inline]
pub(crate) fn reserve<R>(vec: &mut Vec<R>, len: usize) {
    if vec.capacity() == 0 {
        *vec = Vec::with_capacity(len); // which takes less than the way there by `reserve`
    }
    vec.reserve(len);
    large_pages::advise(vec);
}

/// Appends `len` results that `fill` writes. False: it did not fill all, and the vector is as it
/// was.
pub(in crate::thread) fn append<R>(
    vec: &mut Vec<R>,
    len: usize,
    fill: impl for<'a> FnOnce(UnfilledPart<'a, R>) -> Option<FilledPart<'a, R>>,
) -> bool {
    reserve(vec, len);
    let places = UnfilledPart::of(vec, len);
    let start = places.start;
    match fill(places) {
        None => return len == 0,
        Some(filled) if filled.len != len || !ptr::eq(filled.start, start) => return false,
        // From here on the vector owns them.
        Some(filled) => std::mem::forget(filled),
    }
    let len = vec.len() + len;
    // SAFETY: P19, P20: `filled` was made from the places behind the elements and covers all of
    // them.
    unsafe { vec.set_len(len) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loom::Arc;

    #[test]
    fn parts_filled_on_several_threads_become_one_vector() {
        let mut results = Vec::new();
        let all = append(&mut results, 10, |places| {
            let (mut left, right) = places.split_at(4);
            std::thread::scope(|s| {
                let right = s.spawn(move || {
                    let mut right = right;
                    right.extend((4..7).map(|i| i.to_string()));
                    let (some, mut rest) = right.split_filled();
                    rest.extend((7..10).map(|i| i.to_string()));
                    some.join(rest.split_filled().0)
                });
                left.extend((0..4).map(|i| i.to_string()));
                Some(left.split_filled().0.join(right.join().unwrap()))
            })
        });
        assert!(all);
        let expected: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        assert_eq!(results, expected);
        assert!(append(&mut results, 1, |mut places| {
            places.extend(["behind".to_owned()].into_iter());
            Some(places.split_filled().0)
        }));
        assert_eq!((results.len(), &*results[10]), (11, "behind"));
    }

    #[test]
    fn what_is_filled_in_vain_is_dropped() {
        let token = Arc::new(());
        let mut results = Vec::new();
        let all = append(&mut results, 10, |places| {
            let (mut left, mut right) = places.split_at(5);
            left.extend([Arc::clone(&token)].into_iter());
            right.extend((0..5).map(|_| Arc::clone(&token)));
            // The left part has a hole: the right one cannot be joined to it.
            Some(left.split_filled().0.join(right.split_filled().0))
        });
        assert!(!all && results.is_empty());
        assert_eq!(Arc::strong_count(&token), 1);
        let all = append(&mut results, 10, |places| {
            let (mut left, mut right) = places.split_at(5);
            left.extend((0..5).map(|_| Arc::clone(&token)));
            right.extend([Arc::clone(&token)].into_iter());
            // One part of six results, from two.
            Some(left.split_filled().0.join(right.split_filled().0))
        });
        assert!(!all && results.is_empty());
        assert_eq!(Arc::strong_count(&token), 1);
        let caught = std::panic::catch_unwind(|| {
            append::<Arc<()>>(&mut Vec::new(), 3, |mut places| {
                places.extend((0..3).map(|i| {
                    if i < 2 {
                        Arc::clone(&token)
                    } else {
                        panic!("third")
                    }
                }));
                Some(places.split_filled().0)
            })
        });
        assert!(caught.is_err());
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
