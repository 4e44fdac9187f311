//! `IndexedParallelIterator`: methods that need an item's index.
//!
//! Tests: `tests/iter/main.rs`.

use super::collect_parts::append;
use super::index_adaptors::{Bounded, Chunks, Enumerate, Part, Rev, StepBy, Zip};
use super::parallel::{IntoParallelIterator, ParallelIterator};
use crate::thread::{Exact, Seal};

/// A parallel iterator whose length and item positions are known.
#[allow(clippy::len_without_is_empty)] // rayon's trait has no `is_empty`
pub trait IndexedParallelIterator: ParallelIterator + Exact {
    /// The number of items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([1, 2, 3].par_windows(2).len(), 2);
    /// ```
    fn len(&self) -> usize {
        self.shape(Seal).len
    }

    /// Each item with its index.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut squares = [0; 4];
    /// squares.par_iter_mut().enumerate().for_each(|(at, square)| *square = at * at);
    /// assert_eq!(squares, [0, 1, 4, 9]);
    /// ```
    fn enumerate(self) -> impl IndexedParallelIterator<Item = (usize, Self::Item)> {
        Enumerate(self)
    }

    /// Each item paired with one of another iterator, as many as the shorter has.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let (a, b) = ([1, 2, 3], [4, 5, 6]);
    /// let dot: i32 = a.par_iter().zip(&b).map(|(a, b)| a * b).sum();
    /// assert_eq!(dot, 32);
    /// ```
    fn zip<C>(self, other: C) -> impl IndexedParallelIterator<Item = (Self::Item, C::Item)>
    where
        C: IntoParallelIterator<Iter: IndexedParallelIterator>,
    {
        Zip(self, other.into_par_iter())
    }

    /// The items from the last to the first.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let back: Vec<i32> = (0..3).into_par_iter().rev().collect();
    /// assert_eq!(back, [2, 1, 0]);
    /// ```
    fn rev(self) -> impl IndexedParallelIterator<Item = Self::Item> {
        Rev(self)
    }

    /// The first `n` items. Earlier adaptors are not called for the others.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((5..99).into_par_iter().take(2).sum::<i32>(), 11);
    /// ```
    fn take(self, n: usize) -> impl IndexedParallelIterator<Item = Self::Item> {
        Part(self, 0, n)
    }

    /// All but the first `n` items. Earlier adaptors are not called for these.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..5).into_par_iter().skip(3).sum::<i32>(), 7);
    /// ```
    fn skip(self, n: usize) -> impl IndexedParallelIterator<Item = Self::Item> {
        Part(self, n, usize::MAX)
    }

    /// Every `step`th item, beginning with the first. Earlier adaptors are not called for the
    /// others, which cost nothing, unless they must be dropped.
    ///
    /// # Panics
    /// If `step` is 0.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let some: Vec<i32> = (0..8).into_par_iter().step_by(3).collect();
    /// assert_eq!(some, [0, 3, 6]);
    /// ```
    fn step_by(self, step: usize) -> impl IndexedParallelIterator<Item = Self::Item> {
        assert!(step > 0, "step_by: a step of 0 goes nowhere");
        StepBy(self, step)
    }

    /// Vectors of `size` items each; the last may have fewer.
    ///
    /// # Panics
    /// If `size` is 0.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let chunks: Vec<Vec<i32>> = (0..5).into_par_iter().chunks(2).collect();
    /// assert_eq!(chunks, [vec![0, 1], vec![2, 3], vec![4]]);
    /// ```
    fn chunks(self, size: usize) -> impl IndexedParallelIterator<Item = Vec<Self::Item>> {
        assert!(size > 0, "chunks: a chunk has one item or more");
        Chunks(self, size)
    }

    /// Makes pieces of at least `min` items, if beginning one is expensive. Unlike rayon, trefoil
    /// adapts the length of pieces while the work runs, so this is seldom needed. It may also
    /// change the grouping of a sum of floats.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..100).into_par_iter().with_min_len(50).sum::<i32>(), 4950);
    /// ```
    fn with_min_len(self, min: usize) -> impl IndexedParallelIterator<Item = Self::Item> {
        let (base, max) = (self, usize::MAX);
        Bounded { base, min, max }
    }

    /// Makes pieces of at most `max` items, if a few items are very expensive. It may also change
    /// the grouping of a sum of floats.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..100).into_par_iter().with_max_len(1).sum::<i32>(), 4950);
    /// ```
    fn with_max_len(self, max: usize) -> impl IndexedParallelIterator<Item = Self::Item> {
        let (base, min) = (self, 1);
        Bounded { base, min, max }
    }

    /// The index of some item for which `f` returns true: the first one found.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([4, 5, 6].par_iter().position_any(|n| *n == 5), Some(1));
    /// ```
    fn position_any<F>(self, f: F) -> Option<usize>
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        let found = move |(at, item)| f(item).then_some(at);
        self.enumerate().find_map_any(found)
    }

    /// The index of the first item for which `f` returns true.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([5, 4, 5].par_iter().position_first(|n| *n == 5), Some(0));
    /// ```
    fn position_first<F>(self, f: F) -> Option<usize>
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        let found = move |(at, item)| f(item).then_some(at);
        self.enumerate().find_map_first(found)
    }

    /// The indices of the items for which `f` returns true.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let at: Vec<usize> = [5, 4, 5].par_iter().positions(|n| *n == 5).collect();
    /// assert_eq!(at, [0, 2]);
    /// ```
    fn positions<F>(self, f: F) -> impl ParallelIterator<Item = usize>
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        let wanted = move |(at, item)| f(item).then_some(at);
        self.enumerate().filter_map(wanted)
    }

    /// Replaces the contents of `vec` with all items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = vec![7];
    /// (0..3).into_par_iter().collect_into_vec(&mut numbers);
    /// assert_eq!(numbers, [0, 1, 2]);
    /// ```
    fn collect_into_vec(self, vec: &mut Vec<Self::Item>) {
        vec.clear();
        append(self, vec);
    }
}

impl<I: ParallelIterator + Exact> IndexedParallelIterator for I {}
