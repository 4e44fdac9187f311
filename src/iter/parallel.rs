//! `ParallelIterator`: the methods that need neither an order nor a known number of items.
//!
//! **Job.** Names, documentation and bounds: adaptors put a stage around the source, consumers open
//! it and fold the pieces. The traits that refer to one another are here together. Unlike rayon,
//! every result is the one that the sequential iterator gives, and the grouping of a reduction
//! depends only on the number of items.
//!
//! Tests: `tests/iter/main.rs`.

use std::cmp::Ordering;
use std::iter::{self, Product, Sum};

use super::bridge::Bridge;
use super::collect_parts::gather;
use super::index_adaptors::{Bounded, Chunks, Enumerate, Part, Rev, StepBy, Zip};
use super::item_adaptors::{
    Filter, FilterMap, FilterMapping, Filtering, FlatMapping, Folding, Initing, ItemAdaptor, Map,
    MapInit, Mapping,
};
use super::par::Par;
use super::search::{search, try_reduce};
use super::try_types::Try;
use crate::loom::Mutex;
use crate::task::CancelToken;
use crate::thread::map::chain::Chain;
use crate::thread::{
    Cancellable, FoldPosition, Items, ItemsUntil, LEAF, Producer, RUN, Seal, Source, divide,
    divide_fixed, map_reduce, until,
};

/// Types that can become a parallel iterator: collections by value or by reference, ranges, and
/// parallel iterators themselves.
///
/// It is implemented for everything that [`ThreadPool::map`](crate::ThreadPool::map) takes
/// ([`Items`] has the list); `map` also takes parallel iterators.
///
/// ```
/// use trefoil::prelude::*;
///
/// let sum: u64 = (1..=100_u64).into_par_iter().map(|n| n * n).sum();
/// assert_eq!(sum, 338_350);
/// ```
pub trait IntoParallelIterator {
    /// Its parallel iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// The items of that iterator.
    type Item: Send;
    /// Converts `self` into a parallel iterator.
    fn into_par_iter(self) -> Self::Iter;
}

impl<C: Items<Source: Send>> IntoParallelIterator for C {
    type Iter = Par<C::Source>;
    type Item = C::Item;
    fn into_par_iter(self) -> Par<C::Source> {
        Par(self.into_source(Seal))
    }
}

/// A type that the items of a parallel iterator can be collected into: see
/// [`collect`](ParallelIterator::collect).
///
/// Vectors, boxed and reference-counted slices, strings and the collections of std; `Result` and
/// `Option` of these, if the items are results or options; pairs of them, if the items are pairs;
/// and `()`. Which of equal keys is kept is as in std: `BTreeMap` and `BTreeSet` keep the last, the
/// hash tables the first, and maps the last value. (In a pair, B-trees keep the last, too, where
/// std's `collect` keeps the first.)
///
/// ```
/// use std::collections::BTreeMap;
/// use trefoil::prelude::*;
///
/// let squares: BTreeMap<u32, u32> = (0..9).into_par_iter().map(|n| (n, n * n)).collect();
/// assert_eq!(squares[&8], 64);
/// let parsed: Result<Vec<u8>, _> = ["1", "x", "300"].par_iter().map(|text| text.parse::<u8>()).collect();
/// assert!(parsed.unwrap_err().to_string().contains("digit")); // of the lowest index
/// ```
pub trait FromParallelIterator<T: Send>: Sized {
    /// Makes the collection from the items.
    fn from_par_iter<I>(items: I) -> Self
    where
        I: IntoParallelIterator<Item = T>;

    /// Makes the collection from items that are already in a vector.
    #[doc(hidden)]
    fn from_vec(items: Vec<T>, _: Seal) -> Self {
        Self::from_par_iter(items)
    }
}

/// A collection that the items of a parallel iterator can be added to: vectors, strings and the
/// collections of std; pairs of them, if the items are pairs.
///
/// ```
/// use trefoil::prelude::*;
///
/// let mut numbers = vec![0, 1];
/// numbers.par_extend((2..5).into_par_iter().map(|n| n * 10));
/// assert_eq!(numbers, [0, 1, 20, 30, 40]);
/// ```
pub trait ParallelExtend<T: Send> {
    /// Adds the items. A vector appends them in order.
    fn par_extend<I>(&mut self, items: I)
    where
        I: IntoParallelIterator<Item = T>;
}

/// Items that the threads of the current pool process together: the pool that the calling thread is
/// inside, otherwise the [global one](crate::ThreadPool::global).
///
/// Adaptors do nothing before a *consumer* is called: one of the methods that do not return an
/// iterator. That call waits for the result.
///
/// # Panics
/// A panic in a closure stops the items behind it, and is resumed in the caller of the consumer; of
/// several, that of the lowest item. Before that, all items and intermediate results are dropped. A
/// panic that the sequential iterator would not have reached, because it would have stopped at an
/// earlier match or failure, is not resumed. (The panic hook has seen it.) Exceptions are
/// `flat_map`, `flatten`, and the `sum` and `product` of options or results.
pub trait ParallelIterator: Source + Send {
    /// Calls `f` with each item.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let mut numbers = [1, 2, 3];
    /// numbers.par_iter_mut().for_each(|number| *number *= 2);
    /// assert_eq!(numbers, [2, 4, 6]);
    /// ```
    fn for_each<F: Fn(Self::Item) + Sync>(self, f: F) {
        reduce(adapt(self, Mapping(f)), |(), ()| ());
    }

    /// [`for_each`](Self::for_each) with a state, which `init` creates for each of a few pieces.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let texts = std::sync::Mutex::new(vec![]);
    /// (0..3).into_par_iter().for_each_init(String::new, |text, n| {
    ///     text.clear();
    ///     *text += &n.to_string();
    ///     texts.lock().unwrap().push(text.clone());
    /// });
    /// assert_eq!(texts.into_inner().unwrap().len(), 3);
    /// ```
    fn for_each_init<S, N, F>(self, init: N, f: F)
    where
        N: Fn() -> S + Sync,
        F: Fn(&mut S, Self::Item) + Sync,
    {
        reduce(adapt(self, Initing(init, f)), |(), ()| ());
    }

    /// [`for_each_init`](Self::for_each_init) with clones of one value.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// (0..3).into_par_iter().for_each_with(sender, |sender, n| sender.send(n).unwrap());
    /// assert_eq!(receiver.iter().sum::<i32>(), 3);
    /// ```
    fn for_each_with<S: Send + Clone, F: Fn(&mut S, Self::Item) + Sync>(self, value: S, f: F) {
        let value = Mutex::new(value);
        self.for_each_init(|| value.lock().clone(), f);
    }

    /// Calls `f` with each item until it fails (`Result`, `Option` or `ControlFlow`). Returns the
    /// failure of the lowest item.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let small = |n: i32| if n < 7 { Ok(()) } else { Err(n) };
    /// assert_eq!((0..100).into_par_iter().try_for_each(small), Err(7));
    /// ```
    fn try_for_each<R: Try<Output = ()> + Send, F: Fn(Self::Item) -> R + Sync>(self, f: F) -> R {
        let failure = search(self, true, move |item| f(item).branch(Seal).err());
        failure.unwrap_or_else(|| R::from_output((), Seal))
    }

    /// The result of `f` for each item.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let lengths: Vec<usize> = ["a", "bcd"].par_iter().map(|text| text.len()).collect();
    /// assert_eq!(lengths, [1, 3]);
    /// ```
    fn map<R: Send, F: Fn(Self::Item) -> R + Sync + Send>(self, f: F) -> Map<Self, F> {
        Map(adapt(self, Mapping(f)))
    }

    /// [`map`](Self::map) with a state, which `init` creates for each of a few pieces: a random
    /// number generator, a buffer. It need not be `Send`, and the result of `f` should not depend
    /// on earlier items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let texts = (0..3).into_par_iter().map_init(String::new, |buffer, n| {
    ///     buffer.clear();
    ///     *buffer += &n.to_string();
    ///     buffer.len()
    /// });
    /// assert_eq!(texts.sum::<usize>(), 3);
    /// ```
    fn map_init<S, R, N, F>(self, init: N, f: F) -> MapInit<Self, N, F>
    where
        R: Send,
        N: Fn() -> S + Sync + Send,
        F: Fn(&mut S, Self::Item) -> R + Sync + Send,
    {
        MapInit(adapt(self, Initing(init, f)))
    }

    /// [`map_init`](Self::map_init) with clones of one value.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sums: Vec<i32> = (1..=3).into_par_iter().map_with(10, |ten, n| *ten + n).collect();
    /// assert_eq!(sums, [11, 12, 13]);
    /// ```
    fn map_with<S, R, F>(self, value: S, f: F) -> MapInit<Self, impl Fn() -> S + Sync + Send, F>
    where
        S: Send + Clone,
        R: Send,
        F: Fn(&mut S, Self::Item) -> R + Sync + Send,
    {
        let value = Mutex::new(value);
        self.map_init(move || value.lock().clone(), f)
    }

    /// Calls `f` with a reference to each item that passes.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sum: i32 = [1, 2].par_iter().inspect(|n| assert!(**n > 0)).sum();
    /// assert_eq!(sum, 3);
    /// ```
    fn inspect<F>(self, f: F) -> Map<Self, impl Fn(Self::Item) -> Self::Item + Sync + Send>
    where
        F: Fn(&Self::Item) + Sync + Send,
    {
        self.map(move |item| {
            f(&item);
            item
        })
    }

    /// Changes each item that passes.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sum: i32 = [1, 2].into_par_iter().update(|n| *n *= 10).sum();
    /// assert_eq!(sum, 30);
    /// ```
    fn update<F>(self, f: F) -> Map<Self, impl Fn(Self::Item) -> Self::Item + Sync + Send>
    where
        F: Fn(&mut Self::Item) + Sync + Send,
    {
        self.map(move |mut item| {
            f(&mut item);
            item
        })
    }

    /// Clones of the referenced items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let texts: Vec<String> = ["a".to_string()].par_iter().cloned().collect();
    /// assert_eq!(texts, ["a"]);
    /// ```
    fn cloned<'a, T>(self) -> Map<Self, impl Fn(&'a T) -> T + Sync + Send>
    where
        Self: Source<Item = &'a T>,
        T: Clone + Send + Sync + 'a,
    {
        Map(adapt(self, Mapping(|item: &'a T| item.clone())))
    }

    /// Copies of the referenced items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([1, 5, 2].par_iter().copied().max(), Some(5));
    /// ```
    fn copied<'a, T>(self) -> Map<Self, impl Fn(&'a T) -> T + Sync + Send>
    where
        Self: Source<Item = &'a T>,
        T: Copy + Send + Sync + 'a,
    {
        Map(adapt(self, Mapping(|item: &'a T| *item)))
    }

    /// The items for which `f` returns true.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..100).into_par_iter().filter(|n| n % 7 == 0).count(), 15);
    /// ```
    fn filter<F: Fn(&Self::Item) -> bool + Sync + Send>(self, f: F) -> Filter<Self, F> {
        Filter(adapt(self, Filtering(f)))
    }

    /// The results of `f` that are `Some`.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let numbers: Vec<u8> = ["1", "x", "3"].par_iter().filter_map(|text| text.parse().ok()).collect();
    /// assert_eq!(numbers, [1, 3]);
    /// ```
    fn filter_map<R: Send, F>(self, f: F) -> FilterMap<Self, F>
    where
        F: Fn(Self::Item) -> Option<R> + Sync + Send,
    {
        FilterMap(adapt(self, FilterMapping(f)))
    }

    /// All items of the parallel iterators that `f` returns. Each of those is collected first, by
    /// as many threads as are free. If they are short, or too long for the memory, use
    /// [`flat_map_iter`](Self::flat_map_iter), which yields item by item.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let all: Vec<u32> = (1..4_u32).into_par_iter().flat_map(|n| (0..n).into_par_iter()).collect();
    /// assert_eq!(all, [0, 0, 1, 0, 1, 2]);
    /// ```
    fn flat_map<C, F>(self, f: F) -> impl ParallelIterator<Item = C::Item>
    where
        C: IntoParallelIterator,
        F: Fn(Self::Item) -> C + Sync + Send,
    {
        self.flat_map_iter(move |item| f(item).into_par_iter().collect::<Vec<_>>())
    }

    /// All items of the iterators that `f` returns.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let words: Vec<&str> = ["a b", "c"].par_iter().flat_map_iter(|line| line.split(' ')).collect();
    /// assert_eq!(words, ["a", "b", "c"]);
    /// ```
    fn flat_map_iter<U, F>(self, f: F) -> impl ParallelIterator<Item = U::Item>
    where
        U: IntoIterator<Item: Send>,
        F: Fn(Self::Item) -> U + Sync + Send,
    {
        adapt(self, FlatMapping(f))
    }

    /// All items of the collections that are the items: [`flat_map`](Self::flat_map).
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let all: Vec<u32> = vec![vec![1, 2], vec![3]].into_par_iter().flatten().collect();
    /// assert_eq!(all, [1, 2, 3]);
    /// ```
    fn flatten(self) -> impl ParallelIterator<Item = <Self::Item as IntoParallelIterator>::Item>
    where
        Self::Item: IntoParallelIterator,
    {
        self.flat_map(|items| items)
    }

    /// All items of the collections that are the items: [`flat_map_iter`](Self::flat_map_iter).
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let all: Vec<u32> = vec![Some(1), None, Some(3)].into_par_iter().flatten_iter().collect();
    /// assert_eq!(all, [1, 3]);
    /// ```
    fn flatten_iter(self) -> impl ParallelIterator<Item = <Self::Item as IntoIterator>::Item>
    where
        Self::Item: IntoIterator<Item: Send>,
    {
        self.flat_map_iter(|items| items)
    }

    /// Folds each of a few pieces: starts with the value of `init`, and applies `f` to the value
    /// and each item. A consumer combines the results.
    ///
    /// If that consumer is a `sum`, a `product` or a form of [`reduce`](Self::reduce), the number
    /// of pieces depends only on the number of items; otherwise also on which threads are free. An
    /// empty source gives one piece.
    ///
    /// After [`par_bridge`](super::ParallelBridge::par_bridge) the number of pieces is unspecified,
    /// for a reduction, too, because the number of items is not known in advance. After
    /// [`flatten`](Self::flatten) and [`flat_map`](Self::flat_map) a piece is some of the outer
    /// items, with everything in them, so the number depends on the outer items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let letters = ["a", "bcd"].par_iter().fold(|| 0, |sum, text| sum + text.len());
    /// assert_eq!(letters.sum::<usize>(), 4);
    /// let nothing = Vec::<u8>::new().into_par_iter().fold(|| 7, |sum, _| sum);
    /// assert_eq!(nothing.collect::<Vec<_>>(), [7]);
    /// ```
    fn fold<A, N, F>(self, init: N, f: F) -> impl ParallelIterator<Item = A>
    where
        A: Send,
        N: Fn() -> A + Sync + Send,
        F: Fn(A, Self::Item) -> A + Sync + Send,
    {
        adapt(self, Folding(init, f))
    }

    /// [`fold`](Self::fold) with clones of one value.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sum: i32 = (0..9).into_par_iter().fold_with(0, |a, b| a + b).sum();
    /// assert_eq!(sum, 36);
    /// ```
    fn fold_with<A, F>(self, value: A, f: F) -> impl ParallelIterator<Item = A>
    where
        A: Send + Clone,
        F: Fn(A, Self::Item) -> A + Sync + Send,
    {
        let value = Mutex::new(value);
        self.fold(move || value.lock().clone(), f)
    }

    /// These items, followed by those of another iterator.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let both: Vec<i32> = (0..2).into_par_iter().chain(vec![7]).collect();
    /// assert_eq!(both, [0, 1, 7]);
    /// ```
    fn chain<C>(self, behind: C) -> Chain<Self, C::Iter>
    where
        C: IntoParallelIterator<Item = Self::Item>,
    {
        Chain(self, behind.into_par_iter())
    }

    /// Stops when `token` is cancelled: no item passes after that. What consumes them returns
    /// a `Result`: see [`Cancellable`].
    ///
    /// Each thread looks at the token before each item. What has begun by then runs to its end.
    /// Adaptors that were put before `until` may be called until they give one item more, on each
    /// thread. As the number of items is not known in advance, what follows has no methods of
    /// [`IndexedParallelIterator`](super::IndexedParallelIterator): call these before.
    ///
    /// # Errors
    /// Consumers return [`TaskError::Cancelled`](crate::TaskError::Cancelled) if an item was left
    /// out. A cancel after the last item has passed changes nothing. (Where the number of items is
    /// not known, as after a `filter`, a thread may not know that there is no item more, and report
    /// a cancel then.)
    ///
    /// ```
    /// use trefoil::prelude::*;
    /// use trefoil::{CancelToken, TaskError};
    ///
    /// let (numbers, token) = ([1_u64, 2, 3], CancelToken::new());
    /// let sum = numbers.par_iter().until(&token).map(|n| n * n).sum::<u64>();
    /// assert_eq!(sum?, 14);
    ///
    /// token.cancel();
    /// let stopped = numbers.par_iter().until(&token).count();
    /// assert!(matches!(stopped, Err(TaskError::Cancelled)));
    /// # Ok::<_, TaskError>(())
    /// ```
    fn until(
        self,
        token: &CancelToken,
    ) -> Cancellable<'_, impl ParallelIterator<Item = Self::Item>> {
        until(token, self)
    }

    /// Collects the items, in order, into one of the types that implement [`FromParallelIterator`].
    ///
    /// If the number of items is known, a vector is filled in place.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let text: String = "leaf".par_chars().map(|c| c.to_ascii_uppercase()).collect();
    /// assert_eq!(text, "LEAF");
    /// ```
    fn collect<C: FromParallelIterator<Self::Item>>(self) -> C {
        C::from_par_iter(Par(self))
    }

    /// The items for which `f` returns true, and the others.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let (even, odd): (Vec<u32>, Vec<u32>) = (0..5).into_par_iter().partition(|n| n % 2 == 0);
    /// assert_eq!((even, odd), (vec![0, 2, 4], vec![1, 3]));
    /// ```
    fn partition<A, B, F: Fn(&Self::Item) -> bool + Sync>(self, f: F) -> (A, B)
    where
        A: Default + ParallelExtend<Self::Item>,
        B: Default + ParallelExtend<Self::Item>,
    {
        let (mut left, mut right) = (A::default(), B::default());
        let put = move |parts: &mut (Vec<_>, Vec<_>), item| {
            if f(&item) {
                parts.0.push(item);
            } else {
                parts.1.push(item);
            }
        };
        for (some, others) in gather(self, put) {
            left.par_extend(some);
            right.par_extend(others);
        }
        (left, right)
    }

    /// The first and the second halves of items that are pairs.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let (n, square): (Vec<u32>, Vec<u32>) = (0..3).into_par_iter().map(|n| (n, n * n)).unzip();
    /// assert_eq!((n, square), (vec![0, 1, 2], vec![0, 1, 4]));
    /// ```
    fn unzip<A: Send, B: Send, L, R>(self) -> (L, R)
    where
        Self: Source<Item = (A, B)>,
        L: Default + ParallelExtend<A>,
        R: Default + ParallelExtend<B>,
    {
        let (mut left, mut right) = (L::default(), R::default());
        let put = |parts: &mut (Vec<A>, Vec<B>), (first, second)| {
            parts.0.push(first);
            parts.1.push(second);
        };
        for (first, second) in gather(self, put) {
            left.par_extend(first);
            right.par_extend(second);
        }
        (left, right)
    }

    /// The number of items, if it is known before any is made.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..9).into_par_iter().opt_len(), Some(9));
    /// assert_eq!((0..9).into_par_iter().filter(|n| *n > 1).opt_len(), None);
    /// ```
    fn opt_len(&self) -> Option<usize> {
        let shape = self.shape(Seal);
        shape.exact.then_some(shape.len)
    }

    /// The number of items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!("one two".par_split_whitespace().count(), 2);
    /// ```
    fn count(mut self) -> usize {
        let (shape, items) = (self.shape(Seal), self.open(Seal));
        // (Std's count of a filter has no branch.)
        let fold =
            |_: FoldPosition<'_>, so_far: Option<usize>, items: <Self as Source>::Producer<'_>| {
                Some(so_far.unwrap_or(0) + items.forward().count())
            };
        divide(shape, items, fold, |a, b| a + b).unwrap_or(0)
    }

    /// Combines all items with an associative `f`, from left to right. `identity` is the value for
    /// no items.
    ///
    /// The grouping depends on the number of items (of the source, before any filter) and on the
    /// adaptors, not on threads or time: sums of the same floats in the same order have the same
    /// bits. After [`par_bridge`](super::ParallelBridge::par_bridge) neither the order nor the
    /// grouping is specified, here and in the other reductions: `f` should be commutative, and sums
    /// of floats may differ.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let text = (0..5).into_par_iter().map(|n| n.to_string()).reduce(String::new, |a, b| a + &b);
    /// assert_eq!(text, "01234");
    /// ```
    fn reduce<N, F>(self, identity: N, f: F) -> Self::Item
    where
        N: Fn() -> Self::Item,
        F: Fn(Self::Item, Self::Item) -> Self::Item + Sync,
    {
        self.reduce_with(f).unwrap_or_else(identity)
    }

    /// [`reduce`](Self::reduce); `None`: there are no items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([3, 4].into_par_iter().reduce_with(|a, b| a * b), Some(12));
    /// ```
    fn reduce_with<F>(self, f: F) -> Option<Self::Item>
    where
        F: Fn(Self::Item, Self::Item) -> Self::Item + Sync,
    {
        map_reduce(self, RUN, |item| item, f)
    }

    /// [`reduce`](Self::reduce) of the values in items that may be failures; returns the first
    /// failure.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let sum = |items: &[Option<u8>]| items.par_iter().copied().try_reduce(|| 0, u8::checked_add);
    /// assert_eq!((sum(&[Some(1), Some(2)]), sum(&[Some(200), Some(200)])), (Some(3), None));
    /// ```
    fn try_reduce<T, N: Fn() -> T, F>(self, identity: N, f: F) -> Self::Item
    where
        Self::Item: Try<Output = T>,
        F: Fn(T, T) -> Self::Item + Sync,
    {
        let all = self.try_reduce_with(f);
        all.unwrap_or_else(|| Self::Item::from_output(identity(), Seal))
    }

    /// [`try_reduce`](Self::try_reduce); `None`: there are no items.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([Ok(1), Err("no")].into_par_iter().try_reduce_with(|a, b| Ok(a + b)), Some(Err("no")));
    /// ```
    fn try_reduce_with<T, F>(self, f: F) -> Option<Self::Item>
    where
        Self::Item: Try<Output = T>,
        F: Fn(T, T) -> Self::Item + Sync,
    {
        try_reduce(self, f)
    }

    /// The sum of all items; for floats see [`reduce`](Self::reduce). The numbers of a vector, a
    /// slice or a range of up to 1,024 are added from left to right (unless `with_max_len`, `fold`,
    /// `map_with`, `map_init` or a flattening adaptor is before it); values of other types, such as
    /// `Option`, are grouped from three on.
    ///
    /// Where signed integers are grouped, a group in the middle may overflow although no sum that
    /// begins with the first item does, as in `[-MAX, MAX, MAX, -MAX]`, if the two in the middle
    /// are a group. Then a program with overflow checks panics, and one without has the right sum,
    /// because both overflows wrap. Sums of unsigned integers overflow only if std's does.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([0.5, 0.25].par_iter().sum::<f64>(), 0.75);
    /// ```
    fn sum<S: Send + Sum<Self::Item> + Sum<S>>(mut self) -> S {
        let join = |left: S, right: S| [left, right].into_iter().sum();
        let nothing = || iter::empty::<S>().sum();
        let shape = self.shape(Seal);
        let number = number::<S>();
        // Each grouping gives the same result, and overflows in the same cases. But a state that is
        // made for each piece may reveal the pieces.
        let any =
            is_of::<Self::Item, S>() && !shape.few && matches!(number, Some(Number::Unsigned));
        if number.is_some() && !any {
            let sum = |item| iter::once(item).sum::<S>();
            return map_reduce(self, LONG_RUN, sum, join).unwrap_or_else(nothing);
        }
        let fold = |_: FoldPosition<'_>, so_far, items: <Self as Source>::Producer<'_>| {
            let sum = items.forward().sum::<S>();
            Some(match so_far {
                Some(so_far) => join(so_far, sum),
                None => sum,
            })
        };
        let items = self.open(Seal);
        let sum = if any {
            divide(shape, items, fold, join)
        } else {
            divide_fixed(shape, items, fold, join)
        };
        drop(self); // see `keep`
        sum.unwrap_or_else(nothing)
    }

    /// The product of all items: see [`sum`](Self::sum). With a 0 among the items, a group may
    /// overflow although std's product does not, of unsigned integers, too.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((1..=5_u64).into_par_iter().product::<u64>(), 120);
    /// ```
    fn product<S: Send + Product<Self::Item> + Product<S>>(mut self) -> S {
        let join = |left: S, right: S| [left, right].into_iter().product();
        let nothing = || iter::empty::<S>().product();
        if number::<S>().is_some() {
            let product = |item| iter::once(item).product::<S>();
            return map_reduce(self, LONG_RUN, product, join).unwrap_or_else(nothing);
        }
        let shape = self.shape(Seal);
        let fold = |_: FoldPosition<'_>, _, items: <Self as Source>::Producer<'_>| {
            Some(items.forward().product::<S>())
        };
        let product = divide_fixed(shape, self.open(Seal), fold, join);
        drop(self); // see `keep`
        product.unwrap_or_else(nothing)
    }

    /// The least item; of equal ones the first.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([3, 1, 2].par_iter().min(), Some(&1));
    /// ```
    fn min(self) -> Option<Self::Item>
    where
        Self::Item: Ord,
    {
        self.min_by(Ord::cmp)
    }

    /// The least item by this order; of equal ones the first.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([0.3_f64, 0.1].par_iter().min_by(|a, b| a.total_cmp(b)), Some(&0.1));
    /// ```
    fn min_by<F>(self, f: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item, &Self::Item) -> Ordering + Sync,
    {
        reduce(self, move |a, b| match f(&a, &b) {
            Ordering::Greater => keep(b, a),
            _ => keep(a, b),
        })
    }

    /// The item with the least key; of equal ones the first.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!(["abc", "d"].par_iter().min_by_key(|text| text.len()), Some(&"d"));
    /// ```
    fn min_by_key<K: Ord + Send, F>(self, f: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item) -> K + Sync,
    {
        let keyed = adapt(self, Mapping(move |item| (f(&item), item)));
        let least = reduce(
            keyed,
            |a, b| if a.0 > b.0 { keep(b, a) } else { keep(a, b) },
        );
        least.map(|(key, item)| keep(item, key))
    }

    /// The greatest item; of equal ones the last.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([3, 1, 2].par_iter().max(), Some(&3));
    /// ```
    fn max(self) -> Option<Self::Item>
    where
        Self::Item: Ord,
    {
        self.max_by(Ord::cmp)
    }

    /// The greatest item by this order; of equal ones the last.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!([0.3_f64, 0.1].par_iter().max_by(|a, b| a.total_cmp(b)), Some(&0.3));
    /// ```
    fn max_by<F>(self, f: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item, &Self::Item) -> Ordering + Sync,
    {
        reduce(self, move |a, b| match f(&a, &b) {
            Ordering::Greater => keep(a, b),
            _ => keep(b, a),
        })
    }

    /// The item with the greatest key; of equal ones the last.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!(["abc", "d"].par_iter().max_by_key(|text| text.len()), Some(&"abc"));
    /// ```
    fn max_by_key<K: Ord + Send, F>(self, f: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item) -> K + Sync,
    {
        let keyed = adapt(self, Mapping(move |item| (f(&item), item)));
        let greatest = reduce(
            keyed,
            |a, b| if a.0 > b.0 { keep(a, b) } else { keep(b, a) },
        );
        greatest.map(|(key, item)| keep(item, key))
    }

    /// Whether `f` returns true for any item. Stops at the first such item that is found, which
    /// counts even if an earlier one panics at the same time.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert!((0..100).into_par_iter().any(|n| n == 42));
    /// ```
    fn any<F: Fn(Self::Item) -> bool + Sync>(self, f: F) -> bool {
        self.find_map_any(move |item| f(item).then_some(()))
            .is_some()
    }

    /// Whether `f` returns true for all items. Stops at the first that is found for which it does
    /// not, as [`any`](Self::any) does.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert!((0..100).into_par_iter().all(|n| n < 100));
    /// ```
    fn all<F: Fn(Self::Item) -> bool + Sync>(self, f: F) -> bool {
        !self.any(move |item| !f(item))
    }

    /// Some item for which `f` returns true: the first one found, which counts even if an earlier
    /// item panics at the same time.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// let found = (0..100).into_par_iter().find_any(|n| n % 9 == 8);
    /// assert_eq!(found.unwrap() % 9, 8);
    /// ```
    fn find_any<F: Fn(&Self::Item) -> bool + Sync>(self, f: F) -> Option<Self::Item> {
        self.find_map_any(move |item| f(&item).then_some(item))
    }

    /// The first item, in order, for which `f` returns true.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..100).into_par_iter().find_first(|n| n % 9 == 8), Some(8));
    /// ```
    fn find_first<F: Fn(&Self::Item) -> bool + Sync>(self, f: F) -> Option<Self::Item> {
        self.find_map_first(move |item| f(&item).then_some(item))
    }

    /// The last item, in order, for which `f` returns true. All items are visited.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!((0..100).into_par_iter().find_last(|n| n % 9 == 8), Some(98));
    /// ```
    fn find_last<F: Fn(&Self::Item) -> bool + Sync>(self, f: F) -> Option<Self::Item> {
        self.find_map_last(move |item| f(&item).then_some(item))
    }

    /// Some result of `f` that is `Some`: the first one found, which counts even if an earlier item
    /// panics at the same time.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!(["x", "7"].par_iter().find_map_any(|text| text.parse::<u8>().ok()), Some(7));
    /// ```
    fn find_map_any<R: Send, F>(self, f: F) -> Option<R>
    where
        F: Fn(Self::Item) -> Option<R> + Sync,
    {
        search(self, false, f)
    }

    /// The first result of `f`, in order, that is `Some`.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!(["x", "7", "8"].par_iter().find_map_first(|text| text.parse::<u8>().ok()), Some(7));
    /// ```
    fn find_map_first<R: Send, F>(self, f: F) -> Option<R>
    where
        F: Fn(Self::Item) -> Option<R> + Sync,
    {
        search(self, true, f)
    }

    /// The last result of `f`, in order, that is `Some`. All items are visited.
    ///
    /// ```
    /// use trefoil::prelude::*;
    ///
    /// assert_eq!(["7", "8", "x"].par_iter().find_map_last(|text| text.parse::<u8>().ok()), Some(8));
    /// ```
    fn find_map_last<R: Send, F>(self, f: F) -> Option<R>
    where
        F: Fn(Self::Item) -> Option<R> + Sync,
    {
        reduce(adapt(self, FilterMapping(f)), |before, last| {
            keep(last, before)
        })
    }
}

/// Up to this many numbers are summed from left to right: as many as in a leaf of a long sum.
const LONG_RUN: usize = LEAF;

/// The types whose values are added and multiplied almost at once.
enum Number {
    Unsigned,
    Other,
}

fn number<S>() -> Option<Number> {
    let this = typeid::of::<S>();
    macro_rules! is {
        ($($number:ty),*) => { false $(|| this == typeid::of::<$number>())* };
    }
    if is!(u8, u16, u32, u64, u128, usize) {
        Some(Number::Unsigned)
    } else if is!(i8, i16, i32, i64, i128, isize, f32, f64) {
        Some(Number::Other)
    } else {
        None
    }
}

/// Whether items of this type are numbers of the other, or references to such.
fn is_of<T, S>() -> bool {
    typeid::of::<T>() == typeid::of::<S>() || typeid::of::<T>() == typeid::of::<&S>()
}

fn adapt<I, K>(base: I, kind: K) -> ItemAdaptor<I, K> {
    ItemAdaptor { base, kind }
}

/// Combines all items two by two, from left to right, in whichever groups.
fn reduce<S: Source, F>(mut source: S, f: F) -> Option<S::Item>
where
    F: Fn(S::Item, S::Item) -> S::Item + Sync,
{
    let (shape, items) = (source.shape(Seal), source.open(Seal));
    let fold = |_: FoldPosition<'_>, so_far: Option<S::Item>, items: S::Producer<'_>| match so_far {
        Some(so_far) => Some(items.forward().fold(so_far, &f)),
        None => items.forward().reduce(&f),
    };
    let all = divide(shape, items, fold, &f);
    keep(all, (source, f))
}

/// `kept`, after `other` has been dropped. If its destructor panics, `kept` is dropped, too. (What
/// is dropped at the end of a function, where its result has already been computed, would lose the
/// result.)
#[inline]
fn keep<T>(kept: T, other: impl Sized) -> T {
    drop(other);
    kept
}

impl<S: Source + Send> ParallelIterator for Par<S> {}
impl<S: Source + Send> ParallelIterator for ItemsUntil<'_, S> {}
impl<I, F> ParallelIterator for Map<I, F> where Self: Source + Send {}
impl<I, N, F> ParallelIterator for MapInit<I, N, F> where Self: Source + Send {}
impl<I, F> ParallelIterator for Filter<I, F> where Self: Source + Send {}
impl<I, F> ParallelIterator for FilterMap<I, F> where Self: Source + Send {}
impl<I, K> ParallelIterator for ItemAdaptor<I, K> where Self: Source + Send {}
impl<I: Iterator<Item: Send> + Send> ParallelIterator for Bridge<I> {}
impl<A, B> ParallelIterator for Chain<A, B> where Self: Source + Send {}
impl<A, B> ParallelIterator for Zip<A, B> where Self: Source + Send {}
impl<I: Source + Send> ParallelIterator for Enumerate<I> {}
impl<I: Source + Send> ParallelIterator for Rev<I> {}
impl<I: Source + Send> ParallelIterator for Part<I> {}
impl<I: Source + Send> ParallelIterator for StepBy<I> {}
impl<I: Source + Send> ParallelIterator for Chunks<I> {}
impl<I: Source + Send> ParallelIterator for Bounded<I> {}
