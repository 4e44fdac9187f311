//! The collections that `map` and similar methods accept.
//!
//! **Job.** [`Items`] is implemented for collections that can be halved without cost (vectors,
//! slices, arrays, deques, integer ranges) and for the other collections of the standard library,
//! which are first collected into a vector of their elements or of references to them. Std's
//! iterators over data in memory (chunks, windows, lines), and adaptors such as `rev`, `zip` and
//! `enumerate`, are collected as well: their inner iterators are private, so they cannot be cut.
//! The trait is sealed.
//!
//! A [`Source`] (`source.rs`) holds the items and is cut.
//!
//! Rejected: every `IntoIterator` (one without an end, or that blocks, would be collected for ever,
//! although `imap` is meant; `filter` and similar adaptors would do their work in the caller); an
//! open trait (its methods would have to be safe against wrong lengths).
//!
//! Tests: `tests/thread/pool.rs::{map_keeps_the_order_of_every_source, ranges_of_every_integer}`.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::collections::{btree_map, btree_set, hash_map, hash_set, vec_deque};
use std::ops::{Range, RangeInclusive};
use std::{iter, slice, str, vec};

use super::chain::Chain;
use super::source::{Int, IntRange, Seal, Source};

/// A collection that [`ThreadPool::map`](crate::thread::ThreadPool::map) and its siblings
/// accept: slices, arrays, `Vec`, `VecDeque`, `LinkedList`, `BinaryHeap`, the sets, the maps and
/// `Option`, by value or by reference, most also by mutable reference; `Result`; and ranges of at
/// most `usize::MAX` integers.
///
/// Also std's usual iterators over data in memory: `iter` and `iter_mut` of slices, `VecDeque`s,
/// sets and maps; of a slice `chunks`, `chunks_exact`, `rchunks`, `rchunks_exact`, their mutable
/// forms and `windows`; of a vector `into_iter` and `drain`; of a string `lines`, `chars`,
/// `char_indices`, `bytes`, `split_whitespace`, and `split` by a `char` or a `&str`; of a map
/// `keys`, `values` and `values_mut`; `repeat_n`; and of any iterator `rev`, `step_by`, `skip`,
/// `take`, `zip`, `chain`, `enumerate`, `cloned`, `copied` and `map`. The caller first moves their
/// items (not what these refer to) into a vector, and so runs the closure of a `map` itself.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let mut words = vec!["pear", "fig"];
/// assert_eq!(pool.map(&words, |word| word.len()), [4, 3]);
/// pool.for_each(&mut words, |word| *word = &word[..2]);
/// assert_eq!(words, ["pe", "fi"]);
/// assert_eq!(pool.map(-2..=2_i8, |x| x * x), [4, 1, 0, 1, 4]);
///
/// let mut pixels = [0; 6];
/// pool.for_each(pixels.chunks_mut(2).enumerate(), |(row, pixels)| pixels.fill(row));
/// assert_eq!(pixels, [0, 0, 1, 1, 2, 2]);
/// ```
///
/// Any other iterator may be endless, or block. Collect it first, or use
/// [`imap`](crate::thread::ThreadPool::imap); the compiler says so:
///
/// ```compile_fail,E0277
/// let pool = trefoil::ThreadPool::with_threads(2);
/// pool.map((0..9).filter(|n| n % 2 == 0), |n| n * n);
/// ```
#[diagnostic::on_unimplemented(
    message = "the thread pool cannot divide a `{Self}` among its threads",
    label = "expected a Vec, a slice, a range of integers, another collection of std, or one of \
        its iterators that `Items` names",
    note = "its items must be `Send`: no `Rc`, and no reference to an `Rc` or a `Cell`",
    note = "collect the items first: `.collect::<Vec<_>>()`",
    note = "or have them pulled one by one, if they have no end or come slowly: `pool.imap(items, \
        f)`"
)]
pub trait Items {
    /// What it consists of.
    type Item: Send;
    /// The source that holds them while they are divided.
    #[doc(hidden)]
    type Source: Source<Item = Self::Item>;
    /// Makes the source. Only this crate can call or implement it.
    #[doc(hidden)]
    fn into_source(self, _: Seal) -> Self::Source;
}

#[diagnostic::do_not_recommend]
impl<S: Source> Items for S {
    type Item = S::Item;
    type Source = S;
    fn into_source(self, _: Seal) -> S {
        self
    }
}

macro_rules! borrowed {
    ($([$($generic:tt)*] $type:ty),* $(,)?) => {$(
        #[doc(hidden)]
        impl<'a, T: Sync, $($generic)*> Items for &'a $type {
            type Item = &'a T;
            type Source = &'a [T];
            fn into_source(self, _: Seal) -> &'a [T] {
                self
            }
        }
        #[doc(hidden)]
        impl<'a, T: Send, $($generic)*> Items for &'a mut $type {
            type Item = &'a mut T;
            type Source = &'a mut [T];
            fn into_source(self, _: Seal) -> &'a mut [T] {
                self
            }
        }
    )*};
}
borrowed!([] Vec<T>, [] Box<[T]>, [const N: usize] [T; N]);

#[doc(hidden)]
impl<T: Send, const N: usize> Items for [T; N] {
    type Item = T;
    type Source = Vec<T>;
    fn into_source(self, _: Seal) -> Vec<T> {
        Vec::from(self)
    }
}

#[doc(hidden)]
impl<T: Send> Items for VecDeque<T> {
    type Item = T;
    type Source = Vec<T>;
    fn into_source(self, _: Seal) -> Vec<T> {
        Vec::from(self)
    }
}

#[doc(hidden)]
impl<'a, T: Sync> Items for &'a VecDeque<T> {
    type Item = &'a T;
    type Source = Chain<&'a [T], &'a [T]>;
    fn into_source(self, _: Seal) -> Self::Source {
        let (front, back) = self.as_slices();
        Chain(front, back)
    }
}

#[doc(hidden)]
impl<'a, T: Send> Items for &'a mut VecDeque<T> {
    type Item = &'a mut T;
    type Source = Chain<&'a mut [T], &'a mut [T]>;
    fn into_source(self, _: Seal) -> Self::Source {
        let (front, back) = self.as_mut_slices();
        Chain(front, back)
    }
}

#[doc(hidden)]
impl<'a, T: Sync> Items for slice::Iter<'a, T> {
    type Item = &'a T;
    type Source = &'a [T];
    fn into_source(self, _: Seal) -> &'a [T] {
        self.as_slice()
    }
}

#[doc(hidden)]
impl<'a, T: Send> Items for slice::IterMut<'a, T> {
    type Item = &'a mut T;
    type Source = &'a mut [T];
    fn into_source(self, _: Seal) -> &'a mut [T] {
        self.into_slice()
    }
}

/// The largest number of bytes of a process.
const ADDRESSES: u64 = if cfg!(target_pointer_width = "32") {
    1 << 31
} else {
    1 << 47
};

/// All items, in a vector, which can be cut.
///
/// # Panics
/// If the iterator claims more items than fit into any memory.
fn collect<I: Iterator>(items: I) -> Vec<I::Item> {
    let bytes = (items.size_hint().0 as u64).saturating_mul(size_of::<I::Item>().max(1) as u64);
    assert!(
        bytes < ADDRESSES,
        "trefoil: an iterator without an end cannot be divided among threads: use `imap`, or \
         `take` some of it"
    );
    items.collect()
}

macro_rules! collected {
    ($([$($generic:tt)*] $type:ty => $item:ty),* $(,)?) => {$(
        #[doc(hidden)]
        impl<$($generic)*> Items for $type {
            type Item = $item;
            type Source = Vec<$item>;
            #[inline] // not compiled for those who do not use it
            fn into_source(self, _: Seal) -> Vec<$item> {
                collect(self.into_iter())
            }
        }
    )*};
}
collected!(
    [T: Send] Box<[T]> => T,
    [T: Send] LinkedList<T> => T,
    ['a, T: Sync] &'a LinkedList<T> => &'a T,
    ['a, T: Send] &'a mut LinkedList<T> => &'a mut T,
    [T: Send] BinaryHeap<T> => T,
    ['a, T: Sync] &'a BinaryHeap<T> => &'a T,
    [T: Send] BTreeSet<T> => T,
    ['a, T: Sync] &'a BTreeSet<T> => &'a T,
    [T: Send, H] HashSet<T, H> => T,
    ['a, T: Sync, H] &'a HashSet<T, H> => &'a T,
    [K: Send, V: Send] BTreeMap<K, V> => (K, V),
    ['a, K: Sync, V: Sync] &'a BTreeMap<K, V> => (&'a K, &'a V),
    ['a, K: Sync, V: Send] &'a mut BTreeMap<K, V> => (&'a K, &'a mut V),
    [K: Send, V: Send, H] HashMap<K, V, H> => (K, V),
    ['a, K: Sync, V: Sync, H] &'a HashMap<K, V, H> => (&'a K, &'a V),
    ['a, K: Sync, V: Send, H] &'a mut HashMap<K, V, H> => (&'a K, &'a mut V),
    [T: Send] Option<T> => T,
    ['a, T: Sync] &'a Option<T> => &'a T,
    ['a, T: Send] &'a mut Option<T> => &'a mut T,
    [T: Send, E] Result<T, E> => T,
    // Iterators over data in memory.
    [T: Send] vec::IntoIter<T> => T,
    ['a, T: Sync] slice::Chunks<'a, T> => &'a [T],
    ['a, T: Send] slice::ChunksMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::ChunksExact<'a, T> => &'a [T],
    ['a, T: Send] slice::ChunksExactMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::RChunks<'a, T> => &'a [T],
    ['a, T: Send] slice::RChunksMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::RChunksExact<'a, T> => &'a [T],
    ['a, T: Send] slice::RChunksExactMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::Windows<'a, T> => &'a [T],
    ['a, T: Send] vec::Drain<'a, T> => T,
    ['a] str::Lines<'a> => &'a str,
    ['a] str::Chars<'a> => char,
    ['a] str::CharIndices<'a> => (usize, char),
    ['a] str::Bytes<'a> => u8,
    ['a] str::SplitWhitespace<'a> => &'a str,
    // (The trait of all patterns is not stable.)
    ['a] str::Split<'a, char> => &'a str,
    ['a, 'p] str::Split<'a, &'p str> => &'a str,
    ['a, T: Sync] vec_deque::Iter<'a, T> => &'a T,
    ['a, T: Send] vec_deque::IterMut<'a, T> => &'a mut T,
    ['a, T: Sync] btree_set::Iter<'a, T> => &'a T,
    ['a, T: Sync] hash_set::Iter<'a, T> => &'a T,
    // Adaptors.
    [T: Clone + Send] iter::RepeatN<T> => T,
    [I: DoubleEndedIterator<Item: Send>] iter::Rev<I> => I::Item,
    [I: Iterator<Item: Send>] iter::StepBy<I> => I::Item,
    [I: Iterator<Item: Send>] iter::Skip<I> => I::Item,
    [I: Iterator<Item: Send>] iter::Take<I> => I::Item,
    [I: Iterator<Item: Send>] iter::Enumerate<I> => (usize, I::Item),
    [I: Iterator<Item: Send>, J: Iterator<Item: Send>] iter::Zip<I, J> => (I::Item, J::Item),
    [I: Iterator<Item: Send>, J: Iterator<Item = I::Item>] iter::Chain<I, J> => I::Item,
    ['a, T: Clone + Send + 'a, I: Iterator<Item = &'a T>] iter::Cloned<I> => T,
    ['a, T: Copy + Send + 'a, I: Iterator<Item = &'a T>] iter::Copied<I> => T,
    [R: Send, I: Iterator, F: FnMut(I::Item) -> R] iter::Map<I, F> => R,
);

macro_rules! of_maps {
    ($($map:ident),*) => {$(collected!(
        ['a, K: Sync, V: Sync] $map::Iter<'a, K, V> => (&'a K, &'a V),
        ['a, K: Sync, V: Send] $map::IterMut<'a, K, V> => (&'a K, &'a mut V),
        ['a, K: Sync, V] $map::Keys<'a, K, V> => &'a K,
        ['a, K, V: Sync] $map::Values<'a, K, V> => &'a V,
        ['a, K, V: Send] $map::ValuesMut<'a, K, V> => &'a mut V,
    );)*};
}
of_maps!(btree_map, hash_map);

fn length(steps: Option<u128>) -> usize {
    match steps.map(usize::try_from) {
        Some(Ok(len)) => len,
        _ => panic!("a range of more than usize::MAX items cannot be divided: cut it into several"),
    }
}

#[doc(hidden)]
impl<T: Int> Items for Range<T> {
    type Item = T;
    type Source = IntRange<T>;
    fn into_source(self, _: Seal) -> IntRange<T> {
        let Range { start, end } = self;
        let steps = if start < end { start.distance(end) } else { 0 };
        let len = length(Some(steps));
        IntRange { start, len }
    }
}

#[doc(hidden)]
impl<T: Int> Items for RangeInclusive<T> {
    type Item = T;
    type Source = IntRange<T>;
    fn into_source(self, _: Seal) -> IntRange<T> {
        let (start, end) = (*self.start(), *self.end());
        let len = if self.is_empty() {
            0
        } else {
            length(start.distance(end).checked_add(1))
        };
        IntRange { start, len }
    }
}
