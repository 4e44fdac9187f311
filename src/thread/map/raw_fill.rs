//! Fills the unused capacity of a vector in place, from several threads.
//!
//! **Job.** `map` allocates its result once. Each part of the region owns the places of its
//! results, fills them from the left, and finally returns the filled part; neighbours are joined;
//! if all is filled, the vector's length is set. On a failure, filled parts drop their results.
//!
//! - **P19** The places of one vector are divided, as in P17: each place belongs to one
//!   [`Places`], and what that counts as filled is initialised and owned by it.
//! - **P20** The vector's buffer is not touched, moved or freed while places of it exist: they
//!   borrow it.
//!
//! Rejected: a vector per part, concatenated at the end (a copy of everything).
//!
//! Tests: `tests/thread/pool.rs::{a_panic_in_map_drops_everything_once_and_is_the_lowest,
//! try_map_writes_results_where_they_belong}`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::{MaybeUninit, needs_drop};
use std::{ptr, slice};

use crate::sys::large_pages;
use crate::task::panic::contain;

/// A part of the vector to fill: places for results, of which the first `filled` hold some.
pub(in crate::thread) struct Places<'a, R> {
    start: *mut R,
    len: usize,
    filled: usize,
    buffer: PhantomData<&'a mut [R]>,
}

// SAFETY: P19: it owns its places and the results in them, alone; sending it sends them.
unsafe impl<R: Send> Send for Places<'_, R> {}

impl<'a, R> Places<'a, R> {
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
        // SAFETY: P19: no more than there are places, so inside the buffer or at its end.
        let middle = unsafe { self.start.add(at) };
        (Self::new(self.start, at), Self::new(middle, self.len - at))
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

    /// Joins two parts that are filled. If something between their results has not been filled, the
    /// right one is dropped: the region has failed. (It is dropped before the left one is returned:
    /// a destructor that panics would lose that.)
    pub(in crate::thread) fn join(mut self, right: Self) -> Self {
        // SAFETY: P19: one past the last of these results is inside the buffer or at its end.
        let end = unsafe { self.start.add(self.filled) };
        if ptr::eq(end, right.start) {
            self.len += right.len;
            self.filled += right.filled;
            std::mem::forget(right);
        } else {
            drop(right);
        }
        self
    }
}

impl<R> Drop for Places<'_, R> {
    fn drop(&mut self) {
        if !needs_drop::<R>() {
            return;
        }
        for at in 0..self.filled {
            // SAFETY: P19: the first `filled` places are initialised, so inside the buffer.
            let result = unsafe { self.start.add(at) };
            // The region has failed, perhaps by a panic that is on its way: a destructor's would be
            // the second.
            // SAFETY: P19: it is of this part, and dropped once.
            contain(|| unsafe { ptr::drop_in_place(result) });
        }
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
    fill: impl for<'a> FnOnce(Places<'a, R>) -> Option<Places<'a, R>>,
) -> bool {
    reserve(vec, len);
    let places = Places::of(vec, len);
    let start = places.start;
    match fill(places) {
        None => return len == 0,
        Some(part) if part.filled != len || !ptr::eq(part.start, start) => return false,
        // From here on the vector owns them.
        Some(part) => std::mem::forget(part),
    }
    let len = vec.len() + len;
    // SAFETY: P19, P20: the part was made from the places behind the elements and covers all of
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
                    right.extend((7..10).map(|i| i.to_string()));
                    right
                });
                left.extend((0..4).map(|i| i.to_string()));
                Some(left.join(right.join().unwrap()))
            })
        });
        assert!(all);
        let expected: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        assert_eq!(results, expected);
        assert!(append(&mut results, 1, |mut places| {
            places.extend(["behind".to_owned()].into_iter());
            Some(places)
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
            Some(left.join(right))
        });
        assert!(!all && results.is_empty());
        assert_eq!(Arc::strong_count(&token), 1);
        let all = append(&mut results, 10, |places| {
            let (mut left, mut right) = places.split_at(5);
            left.extend((0..5).map(|_| Arc::clone(&token)));
            right.extend([Arc::clone(&token)].into_iter());
            // One part of six results, from two.
            Some(left.join(right))
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
                Some(places)
            })
        });
        assert!(caught.is_err());
        assert_eq!(Arc::strong_count(&token), 1);
    }
}
