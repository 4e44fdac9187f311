//! What `map` and its siblings work on.
//!
//! **Job.** [`Items`] is implemented for what can be cut into halves at no cost
//! (vectors, slices, arrays, integer ranges) and for the other collections of
//! the standard library, which are first collected into a vector of their
//! elements or of references to them. So are its iterators over what is in memory
//! (chunks, windows, lines) and the adaptors that keep their items in step (`rev`, `zip`,
//! `enumerate`): their inner iterators cannot be reached, so they cannot be cut. It is sealed: the ways to cut are ours.
//!
//! A source gives its [`Producer`] to a callback instead of returning it,
//! because the producer of a vector borrows the buffer that the source owns.
//!
//! Rejected: `IntoIterator` for everything (one that has no end, or blocks, would be collected
//! for ever, where `imap` is meant; `filter` and its like would do their work in the caller); an open
//! trait (its methods would have to be safe against wrong lengths).
//!
//! Tests: `tests/thread/pool.rs` (every source, order, drops).

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::collections::{btree_map, hash_map};
use std::ops::{Range, RangeInclusive};
use std::{array, iter, slice, str, vec};

use self::sealed::{Callback, Producer, Source};
use super::raw::drain::{Part, drain};

/// A collection that [`ThreadPool::map`](super::ThreadPool::map) and its siblings
/// accept: `Vec`, `VecDeque`, `LinkedList`, `BinaryHeap`, the sets and the maps,
/// by value or by reference; slices and arrays, also by mutable reference; and ranges
/// of integers.
///
/// Also the iterators of std over what is in memory: of a slice `iter`, `chunks`, `chunks_exact`, their mutable forms and `windows`;
/// of a string `lines`, `chars`, `bytes` and `split_whitespace`; of a map `keys` and `values`; and of
/// any iterator `rev`, `step_by`, `skip`, `take`, `zip`, `chain`, `enumerate`, `cloned`, `copied` and `map`. Their items (not what
/// these refer to) are first moved into a vector, by the caller: there the closure of a `map` runs, too.
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
/// Any other iterator may have no end, or block. It is collected first, or goes to
/// [`imap`](super::ThreadPool::imap); the compiler says so:
///
/// ```compile_fail,E0277
/// let pool = trefoil::ThreadPool::with_threads(2);
/// pool.map((0..9).filter(|n| n % 2 == 0), |n| n * n);
/// ```
pub trait Items: Source<Of = <Self as Items>::Item> {
    /// What it consists of.
    type Item;
}

impl<S: Source> Items for S {
    type Item = S::Of;
}

pub(super) mod sealed {
    /// A collection, consumed. (The compiler speaks of this trait where `Items` is not implemented.)
    #[diagnostic::on_unimplemented(
        message = "the thread pool cannot divide a `{Self}` among its threads",
        label = "expected a Vec, a slice, a range of integers, another collection of std, or one of its iterators that `Items` names",
        note = "collect the items first: `.collect::<Vec<_>>()`",
        note = "or have them pulled one by one, if they have no end or come slowly: `pool.imap(items, f)`"
    )]
    pub trait Source {
        /// What it consists of.
        type Of;
        /// Calls back with all its items.
        fn produce<C: Callback<Self::Of>>(self, callback: C) -> C::Output;
    }

    /// What is done with a producer.
    pub trait Callback<T> {
        /// Its result.
        type Output;
        /// Does it.
        fn call<P: Producer<Item = T>>(self, producer: P) -> Self::Output;
    }

    /// A run of items that can be cut. As an iterator, it drops those that are not taken.
    pub trait Producer: IntoIterator + Send + Sized {
        /// How many there are.
        fn len(&self) -> usize;
        /// The first `at` (at most `len`), and the others.
        fn split_at(self, at: usize) -> (Self, Self);
    }
}

impl<T: Sync> Producer for &[T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        <[T]>::split_at(self, at)
    }
}

impl<T: Send> Producer for &mut [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        self.split_at_mut(at)
    }
}

impl<T: Send> Producer for Part<'_, T> {
    fn len(&self) -> usize {
        Part::len(self)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        Part::split_at(self, at)
    }
}

impl<T: Send> Source for Vec<T> {
    type Of = T;
    fn produce<C: Callback<T>>(self, callback: C) -> C::Output {
        drain(self, |all| callback.call(all))
    }
}

impl<T: Send, const N: usize> Source for [T; N] {
    type Of = T;
    fn produce<C: Callback<T>>(self, callback: C) -> C::Output {
        Vec::from(self).produce(callback)
    }
}

macro_rules! borrowed {
    ($([$($generic:tt)*] $type:ty),* $(,)?) => {$(
        impl<'a, T: Sync, $($generic)*> Source for &'a $type {
            type Of = &'a T;
            fn produce<C: Callback<&'a T>>(self, callback: C) -> C::Output {
                callback.call(&self[..])
            }
        }
        impl<'a, T: Send, $($generic)*> Source for &'a mut $type {
            type Of = &'a mut T;
            fn produce<C: Callback<&'a mut T>>(self, callback: C) -> C::Output {
                callback.call(&mut self[..])
            }
        }
    )*};
}
borrowed!([] [T], [] Vec<T>, [] Box<[T]>, [const N: usize] [T; N]);

impl<'a, T: Sync> Source for slice::Iter<'a, T> {
    type Of = &'a T;
    fn produce<C: Callback<&'a T>>(self, callback: C) -> C::Output {
        callback.call(self.as_slice())
    }
}

impl<'a, T: Send> Source for slice::IterMut<'a, T> {
    type Of = &'a mut T;
    fn produce<C: Callback<&'a mut T>>(self, callback: C) -> C::Output {
        callback.call(self.into_slice())
    }
}

/// The bytes that a process may have at most.
const ADDRESSES: u64 = if cfg!(target_pointer_width = "32") {
    1 << 31
} else {
    1 << 47
};

/// All items, in a vector, which can be cut.
///
/// # Panics
/// If the iterator says that it has more than any memory has room for.
fn collect<I: Iterator>(items: I) -> Vec<I::Item> {
    let bytes = (items.size_hint().0 as u64).saturating_mul(size_of::<I::Item>().max(1) as u64);
    assert!(
        bytes < ADDRESSES,
        "trefoil: an iterator without an end cannot be divided among threads: use `imap`, or `take` some of it"
    );
    items.collect()
}

macro_rules! collected {
    ($([$($generic:tt)*] $type:ty => $item:ty),* $(,)?) => {$(
        impl<$($generic)*> Source for $type {
            type Of = $item;
            fn produce<C: Callback<$item>>(self, callback: C) -> C::Output {
                collect(self.into_iter()).produce(callback)
            }
        }
    )*};
}
collected!(
    [T: Send] Box<[T]> => T,
    [T: Send] VecDeque<T> => T,
    ['a, T: Sync] &'a VecDeque<T> => &'a T,
    ['a, T: Send] &'a mut VecDeque<T> => &'a mut T,
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
    // Iterators over what is in memory.
    [T: Send] vec::IntoIter<T> => T,
    [T: Send, const N: usize] array::IntoIter<T, N> => T,
    ['a, T: Sync] slice::Chunks<'a, T> => &'a [T],
    ['a, T: Send] slice::ChunksMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::ChunksExact<'a, T> => &'a [T],
    ['a, T: Send] slice::ChunksExactMut<'a, T> => &'a mut [T],
    ['a, T: Sync] slice::Windows<'a, T> => &'a [T],
    ['a] str::Lines<'a> => &'a str,
    ['a] str::Chars<'a> => char,
    ['a] str::Bytes<'a> => u8,
    ['a] str::SplitWhitespace<'a> => &'a str,
    ['a, K: Sync, V] btree_map::Keys<'a, K, V> => &'a K,
    ['a, K, V: Sync] btree_map::Values<'a, K, V> => &'a V,
    ['a, K, V: Send] btree_map::ValuesMut<'a, K, V> => &'a mut V,
    ['a, K: Sync, V] hash_map::Keys<'a, K, V> => &'a K,
    ['a, K, V: Sync] hash_map::Values<'a, K, V> => &'a V,
    ['a, K, V: Send] hash_map::ValuesMut<'a, K, V> => &'a mut V,
    // Adaptors.
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

/// An integer that ranges are made of.
///
/// One generic impl for all of them, not one for each: so the compiler knows that
/// the items of `Range<T>` are `T` while it does not yet know what `T` is, and
/// `pool.map(0..9, |i| ..)` needs no annotation.
pub(super) trait Int: Copy + PartialOrd + Send {
    /// How many steps it is from here up to `end`, which is not below.
    fn distance(self, end: Self) -> u128;
    /// `steps` further, wrapping: an empty run may begin past the last integer.
    fn forward(self, steps: usize) -> Self;
}

macro_rules! integers {
    ($($int:ident as $unsigned:ident),* $(,)?) => {$(
        impl Int for $int {
            #[inline]
            fn distance(self, end: Self) -> u128 {
                end.wrapping_sub(self) as $unsigned as u128
            }
            #[inline]
            fn forward(self, steps: usize) -> Self {
                self.wrapping_add(steps as $int)
            }
        }
    )*};
}
integers!(
    u8 as u8,
    u16 as u16,
    u32 as u32,
    u64 as u64,
    u128 as u128,
    usize as usize,
    i8 as u8,
    i16 as u16,
    i32 as u32,
    i64 as u64,
    i128 as u128,
    isize as usize,
);

fn length(steps: Option<u128>) -> usize {
    match steps.map(usize::try_from) {
        Some(Ok(len)) => len,
        _ => panic!("a range of more than usize::MAX items cannot be divided: cut it into several"),
    }
}

impl<T: Int> Source for Range<T> {
    type Of = T;
    fn produce<C: Callback<T>>(self, callback: C) -> C::Output {
        let Range { start, end } = self;
        let steps = if start < end { start.distance(end) } else { 0 };
        let len = length(Some(steps));
        callback.call(Span { start, len })
    }
}

impl<T: Int> Source for RangeInclusive<T> {
    type Of = T;
    fn produce<C: Callback<T>>(self, callback: C) -> C::Output {
        let (start, end) = (*self.start(), *self.end());
        let steps = start.distance(end).checked_add(1);
        let len = if self.is_empty() { 0 } else { length(steps) };
        callback.call(Span { start, len })
    }
}

/// Neighbouring integers.
#[derive(Debug)]
pub(super) struct Span<T> {
    start: T,
    len: usize,
}

impl<T: Int> Producer for Span<T> {
    fn len(&self) -> usize {
        self.len
    }
    fn split_at(mut self, at: usize) -> (Self, Self) {
        let (start, len) = (self.start.forward(at), self.len - at);
        self.len = at;
        (self, Self { start, len })
    }
}

impl<T: Int> Iterator for Span<T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        let next = self.start;
        self.start = next.forward(1);
        Some(next)
    }
    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}
