//! What parallel iterators can be collected into.
//!
//! **Job.** A vector is filled in place if the number of items is known. Other collections get
//! their items from vectors that the parts have filled, one after the other, because std's
//! collections cannot be filled by several threads. Of equal keys std's `collect` into a B-tree
//! keeps the last, and its `extend` the first, so the two are not the same here, either.
//!
//! Tests: `tests/iter/collect.rs`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;
use std::sync::Arc;

use super::collect_parts::{append, gather};
use super::par::Par;
use super::parallel::{
    FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator,
};
use crate::thread::{Seal, try_collect};

#[doc(hidden)]
impl<T: Send> ParallelExtend<T> for Vec<T> {
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, items: I) {
        append(items.into_par_iter(), self);
    }
}

#[doc(hidden)]
impl<'a, T: Copy + Send + Sync + 'a> ParallelExtend<&'a T> for Vec<T> {
    fn par_extend<I: IntoParallelIterator<Item = &'a T>>(&mut self, items: I) {
        append(items.into_par_iter().copied(), self);
    }
}

#[doc(hidden)]
impl<T: Send> FromParallelIterator<T> for Vec<T> {
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(items: I) -> Self {
        let mut all = Self::new();
        all.par_extend(items);
        all
    }
    fn from_vec(items: Self, _: Seal) -> Self {
        items
    }
}

#[doc(hidden)]
impl FromParallelIterator<()> for () {
    fn from_par_iter<I: IntoParallelIterator<Item = ()>>(items: I) -> Self {
        items.into_par_iter().for_each(|()| ());
    }
}

/// Collections that are extended by the buffers of all parts: what a buffer is, how an item is put
/// into it, and how it is added to the collection.
macro_rules! extended {
    ($([$($generic:tt)*] $type:ty, $item:ty, $buffer:ty, $put:expr, $add:expr;)*) => {$(
        #[doc(hidden)]
        impl<$($generic)*> ParallelExtend<$item> for $type {
            fn par_extend<I: IntoParallelIterator<Item = $item>>(&mut self, items: I) {
                let buffers: Vec<$buffer> = gather(items.into_par_iter(), $put);
                buffers.into_iter().for_each(|buffer| $add(self, buffer));
            }
        }
    )*};
}

/// Those that are also collected into by extending an empty one.
macro_rules! collections {
    ($([$($generic:tt)*] $type:ty, $item:ty, $buffer:ty, $put:expr, $add:expr;)*) => {$(
        extended!([$($generic)*] $type, $item, $buffer, $put, $add;);

        #[doc(hidden)]
        impl<$($generic)*> FromParallelIterator<$item> for $type {
            fn from_par_iter<I: IntoParallelIterator<Item = $item>>(items: I) -> Self {
                let mut all = Self::default();
                all.par_extend(items);
                all
            }
        }
    )*};
}
collections!(
    [T: Send] LinkedList<T>, T, Vec<T>, Vec::push, Self::extend;
    [T: Eq + Hash + Send, H: BuildHasher + Default + Send] HashSet<T, H>, T, Vec<T>, Vec::push, Self::extend;
    [K: Eq + Hash + Send, V: Send, H: BuildHasher + Default + Send] HashMap<K, V, H>, (K, V), Vec<(K, V)>, Vec::push, Self::extend;
    [] String, char, Self, Self::push, add;
    ['a] String, &'a char, Self, |all: &mut Self, c: &char| all.push(*c), add;
    ['a] String, &'a str, Self, Self::push_str, add;
    ['a] String, Cow<'a, str>, Self, |all: &mut Self, text: Cow<'a, str>| all.push_str(&text), add;
    [] String, Box<str>, Self, |all: &mut Self, text: Box<str>| all.push_str(&text), add;
    [] String, String, Self, add, add;
);
extended!(
    [T: Send] VecDeque<T>, T, Vec<T>, Vec::push, Self::extend;
    [T: Ord + Send] BinaryHeap<T>, T, Vec<T>, Vec::push, Self::extend;
    [T: Ord + Send] BTreeSet<T>, T, Vec<T>, Vec::push, Self::extend;
    [K: Ord + Send, V: Send] BTreeMap<K, V>, (K, V), Vec<(K, V)>, Vec::push, Self::extend;
);

fn add(all: &mut String, text: String) {
    all.push_str(&text);
}

/// Types that std's `collect` makes of all items at once.
macro_rules! from_vec {
    ($([$($generic:tt)*] $type:ty, $item:ty;)*) => {$(
        #[doc(hidden)]
        impl<$($generic)*> FromParallelIterator<$item> for $type {
            fn from_par_iter<I: IntoParallelIterator<Item = $item>>(items: I) -> Self {
                Vec::from_par_iter(items).into_iter().collect()
            }
        }
    )*};
}
from_vec!(
    [T: Send] Box<[T]>, T;
    [T: Send] Arc<[T]>, T;
    [T: Send] Rc<[T]>, T;
    [T: Clone + Send] Cow<'_, [T]>, T;
    [T: Send] VecDeque<T>, T;
    [T: Ord + Send] BinaryHeap<T>, T;
    [T: Ord + Send] BTreeSet<T>, T;
    [K: Ord + Send, V: Send] BTreeMap<K, V>, (K, V);
);

#[doc(hidden)]
impl<C: FromParallelIterator<T>, T: Send, E: Send> FromParallelIterator<Result<T, E>>
    for Result<C, E>
{
    fn from_par_iter<I: IntoParallelIterator<Item = Result<T, E>>>(items: I) -> Self {
        try_collect(items.into_par_iter()).map(|items| C::from_vec(items, Seal))
    }
}

#[doc(hidden)]
impl<C: FromParallelIterator<T>, T: Send> FromParallelIterator<Option<T>> for Option<C> {
    fn from_par_iter<I: IntoParallelIterator<Item = Option<T>>>(items: I) -> Self {
        let items = items.into_par_iter().map(|item| item.ok_or(()));
        Result::from_par_iter(items).ok()
    }
}

#[doc(hidden)]
impl<A, B, L, R> FromParallelIterator<(A, B)> for (L, R)
where
    A: Send,
    B: Send,
    L: FromParallelIterator<A>,
    R: FromParallelIterator<B>,
{
    fn from_par_iter<I: IntoParallelIterator<Item = (A, B)>>(items: I) -> Self {
        let (left, right): (Vec<A>, Vec<B>) = items.into_par_iter().unzip();
        (L::from_vec(left, Seal), R::from_vec(right, Seal))
    }
}

#[doc(hidden)]
impl<A, B, L, R> ParallelExtend<(A, B)> for (L, R)
where
    A: Send,
    B: Send,
    L: ParallelExtend<A>,
    R: ParallelExtend<B>,
{
    fn par_extend<I: IntoParallelIterator<Item = (A, B)>>(&mut self, items: I) {
        let (left, right): (Vec<A>, Vec<B>) = items.into_par_iter().unzip();
        self.0.par_extend(left);
        self.1.par_extend(right);
    }
}

/// Ranges taken out of a vector.
///
/// ```
/// use trefoil::prelude::*;
///
/// let mut numbers = vec![1, 2, 3, 4];
/// assert_eq!(numbers.par_drain(1..3).sum::<i32>(), 5);
/// assert_eq!(numbers, [1, 4]);
/// ```
pub trait ParallelDrainRange {
    /// The items of the vector.
    type Item: Send;
    /// Removes a range of items, whether or not the iterator is consumed.
    ///
    /// # Panics
    /// If the range is not inside the vector.
    fn par_drain<R: std::ops::RangeBounds<usize>>(&mut self, range: R) -> Par<Vec<Self::Item>>;
}

impl<T: Send> ParallelDrainRange for Vec<T> {
    type Item = T;
    fn par_drain<R: std::ops::RangeBounds<usize>>(&mut self, range: R) -> Par<Self> {
        Par(self.drain(range).collect())
    }
}
