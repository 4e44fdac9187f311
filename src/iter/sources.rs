//! `par_iter`, `par_chunks`, `par_lines`, `par_bridge` and similar methods.
//!
//! Tests: `tests/iter/sources.rs`.

use super::bridge::Bridge;
use super::indexed::IndexedParallelIterator;
use super::par::Par;
use super::parallel::{IntoParallelIterator, ParallelIterator};
use super::slices::{SliceChunks, SliceChunksMut, SliceWindows};
use super::sort;
use super::text::{Chars, SplitLines, SplitText, SplitWords};
use std::cmp::Ordering;

/// `par_iter`: a collection by reference.
///
/// ```
/// use trefoil::prelude::*;
///
/// let words = std::collections::BTreeSet::from(["pear", "fig"]);
/// assert_eq!(words.par_iter().map(|word| word.len()).sum::<usize>(), 7);
/// ```
pub trait IntoParallelRefIterator<'a> {
    /// Its parallel iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// The items of that iterator: references.
    type Item: Send + 'a;
    /// The items by reference.
    fn par_iter(&'a self) -> Self::Iter;
}

impl<'a, C: ?Sized> IntoParallelRefIterator<'a> for C
where
    &'a C: IntoParallelIterator<Item: 'a> + 'a,
{
    type Iter = <&'a C as IntoParallelIterator>::Iter;
    type Item = <&'a C as IntoParallelIterator>::Item;
    fn par_iter(&'a self) -> Self::Iter {
        self.into_par_iter()
    }
}

/// `par_iter_mut`: a collection by mutable reference.
///
/// ```
/// use trefoil::prelude::*;
///
/// let mut numbers = [1, 2];
/// numbers.par_iter_mut().for_each(|n| *n += 1);
/// assert_eq!(numbers, [2, 3]);
/// ```
pub trait IntoParallelRefMutIterator<'a> {
    /// Its parallel iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// The items of that iterator: mutable references.
    type Item: Send + 'a;
    /// The items by mutable reference.
    fn par_iter_mut(&'a mut self) -> Self::Iter;
}

impl<'a, C: ?Sized> IntoParallelRefMutIterator<'a> for C
where
    &'a mut C: IntoParallelIterator<Item: 'a> + 'a,
{
    type Iter = <&'a mut C as IntoParallelIterator>::Iter;
    type Item = <&'a mut C as IntoParallelIterator>::Item;
    fn par_iter_mut(&'a mut self) -> Self::Iter {
        self.into_par_iter()
    }
}

/// Pieces of a slice.
///
/// # Panics
/// Every method panics if the size is 0.
pub trait ParallelSlice<T: Sync> {
    /// The slice itself.
    #[doc(hidden)]
    fn as_parallel_slice(&self) -> &[T];

    /// Chunks of `size` items; the last may have fewer.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sums: Vec<i32> = [1, 2, 3].par_chunks(2).map(|chunk| chunk.iter().sum()).collect();
    /// assert_eq!(sums, [3, 3]);
    /// ```
    fn par_chunks<'a>(&'a self, size: usize) -> impl IndexedParallelIterator<Item = &'a [T]>
    where
        T: 'a,
    {
        let slice = self.as_parallel_slice();
        Par(SliceChunks::new(slice, size))
    }

    /// Chunks of `size` items, without the remainder at the end.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([1, 2, 3].par_chunks_exact(2).count(), 1);
    /// ```
    fn par_chunks_exact<'a>(&'a self, size: usize) -> impl IndexedParallelIterator<Item = &'a [T]>
    where
        T: 'a,
    {
        let slice = self.as_parallel_slice();
        let whole = slice.len() - slice.len().checked_rem(size).unwrap_or(0);
        Par(SliceChunks::new(&slice[..whole], size))
    }

    /// All runs of `size` neighbours.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert!([1, 2, 2].par_windows(2).all(|pair| pair[0] <= pair[1]));
    /// ```
    fn par_windows<'a>(&'a self, size: usize) -> impl IndexedParallelIterator<Item = &'a [T]>
    where
        T: 'a,
    {
        let slice = self.as_parallel_slice();
        Par(SliceWindows::new(slice, size))
    }
}

impl<T: Sync> ParallelSlice<T> for [T] {
    fn as_parallel_slice(&self) -> &[T] {
        self
    }
}

/// Mutable pieces of a slice, and sorting.
///
/// # Panics
/// The chunk methods panic if the size is 0. Sorting panics if the comparison does; the slice then
/// still has all its items, in some order. If the comparison is not a total order, the order is
/// unspecified, or sorting panics.
pub trait ParallelSliceMut<T: Send> {
    /// The slice itself.
    #[doc(hidden)]
    fn as_parallel_slice_mut(&mut self) -> &mut [T];

    /// Chunks of `size` items; the last may have fewer.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut rows = [0; 6];
    /// rows.par_chunks_mut(2).enumerate().for_each(|(row, chunk)| chunk.fill(row));
    /// assert_eq!(rows, [0, 0, 1, 1, 2, 2]);
    /// ```
    fn par_chunks_mut<'a>(
        &'a mut self,
        size: usize,
    ) -> impl IndexedParallelIterator<Item = &'a mut [T]>
    where
        T: 'a,
    {
        let slice = self.as_parallel_slice_mut();
        Par(SliceChunksMut::new(slice, size))
    }

    /// Chunks of `size` items, without the remainder at the end.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut pairs = [1, 2, 3];
    /// pairs.par_chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    /// assert_eq!(pairs, [2, 1, 3]);
    /// ```
    fn par_chunks_exact_mut<'a>(
        &'a mut self,
        size: usize,
    ) -> impl IndexedParallelIterator<Item = &'a mut [T]>
    where
        T: 'a,
    {
        let slice = self.as_parallel_slice_mut();
        let whole = slice.len() - slice.len().checked_rem(size).unwrap_or(0);
        Par(SliceChunksMut::new(&mut slice[..whole], size))
    }

    /// Sorts; equal items keep their order. May need memory for as many items again.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut words = ["pear", "fig", "apple"];
    /// words.par_sort();
    /// assert_eq!(words, ["apple", "fig", "pear"]);
    /// ```
    fn par_sort(&mut self)
    where
        T: Ord,
    {
        self.par_sort_by(Ord::cmp);
    }

    /// Sorts by this order; equal items keep theirs.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = [0.5_f64, -1.0];
    /// numbers.par_sort_by(|a, b| a.total_cmp(b));
    /// assert_eq!(numbers, [-1.0, 0.5]);
    /// ```
    fn par_sort_by<F: Fn(&T, &T) -> Ordering + Sync>(&mut self, order: F) {
        sort::stable(self.as_parallel_slice_mut(), &order);
    }

    /// Sorts by a key; equal items keep their order.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut words = ["pear", "fig", "plum"];
    /// words.par_sort_by_key(|word| word.len());
    /// assert_eq!(words, ["fig", "pear", "plum"]);
    /// ```
    fn par_sort_by_key<K: Ord, F: Fn(&T) -> K + Sync>(&mut self, key: F) {
        sort::stable(self.as_parallel_slice_mut(), &|a: &T, b: &T| {
            key(a).cmp(&key(b))
        });
    }

    /// Sorts by a key that is expensive to compute: it is computed once for each item. Equal items
    /// keep their order.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut words = ["pear", "Fig", "apple"];
    /// words.par_sort_by_cached_key(|word| word.to_lowercase());
    /// assert_eq!(words, ["apple", "Fig", "pear"]);
    /// ```
    fn par_sort_by_cached_key<K: Ord + Send, F: Fn(&T) -> K + Sync>(&mut self, key: F) {
        let slice = self.as_parallel_slice_mut();
        let keys = slice
            .par_iter_mut()
            .enumerate()
            .map(|(at, item)| (key(item), at));
        let mut keys: Vec<(K, usize)> = keys.collect();
        sort::unstable(&mut keys, &Ord::cmp);
        for place in 0..slice.len() {
            // Where the item that belongs here is now: a swap may have moved it.
            let mut at = keys[place].1;
            while at < place {
                at = keys[at].1;
            }
            keys[place].1 = at;
            slice.swap(place, at);
        }
    }

    /// Sorts in place; equal items may change places.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = [3, 1, 2];
    /// numbers.par_sort_unstable();
    /// assert_eq!(numbers, [1, 2, 3]);
    /// ```
    fn par_sort_unstable(&mut self)
    where
        T: Ord,
    {
        sort::unstable(self.as_parallel_slice_mut(), &T::cmp);
    }

    /// Sorts in place by this order; equal items may change places.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = [1, 3, 2];
    /// numbers.par_sort_unstable_by(|a, b| b.cmp(a));
    /// assert_eq!(numbers, [3, 2, 1]);
    /// ```
    fn par_sort_unstable_by<F: Fn(&T, &T) -> Ordering + Sync>(&mut self, order: F) {
        sort::unstable(self.as_parallel_slice_mut(), &order);
    }

    /// Sorts in place by a key; equal items may change places.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = [1, -3, 2];
    /// numbers.par_sort_unstable_by_key(|n: &i32| n.abs());
    /// assert_eq!(numbers, [1, 2, -3]);
    /// ```
    fn par_sort_unstable_by_key<K: Ord, F: Fn(&T) -> K + Sync>(&mut self, key: F) {
        sort::unstable(self.as_parallel_slice_mut(), &|a: &T, b: &T| {
            key(a).cmp(&key(b))
        });
    }
}

impl<T: Send> ParallelSliceMut<T> for [T] {
    fn as_parallel_slice_mut(&mut self) -> &mut [T] {
        self
    }
}

/// Pieces of a string. They are found while the threads run, so their number (except of bytes) is
/// not known in advance.
pub trait ParallelString {
    /// The string itself.
    #[doc(hidden)]
    fn as_parallel_string(&self) -> &str;

    /// The characters, like [`str::chars`].
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!("Klee".par_chars().filter(|c| *c == 'e').count(), 2);
    /// ```
    fn par_chars(&self) -> impl ParallelIterator<Item = char> {
        Par(SplitText::<Chars>::new(self.as_parallel_string()))
    }

    /// The bytes, like [`str::bytes`].
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!("Klee".par_bytes().max(), Some(b'l'));
    /// ```
    fn par_bytes(&self) -> impl IndexedParallelIterator<Item = u8> {
        self.as_parallel_string().as_bytes().par_iter().copied()
    }

    /// The lines, like [`str::lines`].
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!("1\n2\n".par_lines().map(|line| line.parse::<i32>().unwrap()).sum::<i32>(), 3);
    /// ```
    fn par_lines(&self) -> impl ParallelIterator<Item = &str> {
        Par(SplitText::<SplitLines>::new(self.as_parallel_string()))
    }

    /// The words, like [`str::split_whitespace`].
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!("three small words".par_split_whitespace().count(), 3);
    /// ```
    fn par_split_whitespace(&self) -> impl ParallelIterator<Item = &str> {
        Par(SplitText::<SplitWords>::new(self.as_parallel_string()))
    }
}

impl ParallelString for str {
    fn as_parallel_string(&self) -> &str {
        self
    }
}

/// `par_bridge`: any iterator.
pub trait ParallelBridge: Iterator<Item: Send> + Send + Sized {
    /// A parallel iterator whose items the threads take from this iterator one by one, under a
    /// lock; the order is lost. So the bits of a sum of floats may differ each time, and a
    /// reduction should be commutative. There are at most `usize::MAX` items.
    ///
    /// The iterator may be slow, or endless if the consumer stops by itself
    /// ([`any`](ParallelIterator::any)). [`ThreadPool::imap`](crate::ThreadPool::imap) keeps the
    /// order.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let lines = "1\n2\n3".lines();
    /// assert_eq!(lines.par_bridge().map(|line| line.len()).sum::<usize>(), 3);
    /// ```
    fn par_bridge(self) -> impl ParallelIterator<Item = Self::Item> {
        Bridge::new(self)
    }
}

impl<I: Iterator<Item: Send> + Send> ParallelBridge for I {}
