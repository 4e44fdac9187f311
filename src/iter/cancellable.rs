//! Methods of parallel iterators whose consumers return a `Result`: a token may end them. When the
//! result is `Cancelled`: `Stop::result` (`thread/map/until.rs`).
//!
//! Tests: `tests/iter/until.rs`.

use std::iter::Sum;

use super::{Filter, FilterMap, FromParallelIterator, Map, ParallelIterator};
use crate::task::TaskError;
use crate::thread::Cancellable;

impl<'t, I: ParallelIterator> Cancellable<'t, I> {
    /// Maps the items, as [`ParallelIterator::map`] does.
    pub fn map<R: Send, F: Fn(I::Item) -> R + Sync + Send>(
        self,
        f: F,
    ) -> Cancellable<'t, Map<I, F>> {
        let (items, stop) = (self.items.map(f), self.stop);
        Cancellable { items, stop }
    }

    /// Leaves out items, as [`ParallelIterator::filter`] does.
    pub fn filter<F: Fn(&I::Item) -> bool + Sync + Send>(
        self,
        f: F,
    ) -> Cancellable<'t, Filter<I, F>> {
        let (items, stop) = (self.items.filter(f), self.stop);
        Cancellable { items, stop }
    }

    /// Maps some of the items, as [`ParallelIterator::filter_map`] does.
    pub fn filter_map<R: Send, F: Fn(I::Item) -> Option<R> + Sync + Send>(
        self,
        f: F,
    ) -> Cancellable<'t, FilterMap<I, F>> {
        let (items, stop) = (self.items.filter_map(f), self.stop);
        Cancellable { items, stop }
    }

    /// What `consume` returns for the items: for any adaptors and consumers.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`] if an item was left out; then the result of `consume` is dropped.
    ///
    /// ```
    /// use trefoil::CancelToken;
    /// use trefoil::prelude::*;
    ///
    /// let token = CancelToken::new();
    /// let largest = [3, 9, 4].par_iter().until(&token).with(|items| items.max());
    /// assert_eq!(largest?, Some(&9));
    /// # Ok::<_, trefoil::TaskError>(())
    /// ```
    pub fn with<R>(self, consume: impl FnOnce(I) -> R) -> Result<R, TaskError> {
        let result = consume(self.items);
        self.stop.result(result)
    }

    /// Calls `f` with each item, as [`ParallelIterator::for_each`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn for_each<F: Fn(I::Item) + Sync>(self, f: F) -> Result<(), TaskError> {
        self.with(|items| items.for_each(f))
    }

    /// Collects the items, as [`ParallelIterator::collect`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn collect<C: FromParallelIterator<I::Item>>(self) -> Result<C, TaskError> {
        self.with(ParallelIterator::collect)
    }

    /// Counts the items, as [`ParallelIterator::count`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn count(self) -> Result<usize, TaskError> {
        self.with(ParallelIterator::count)
    }

    /// Adds the items, as [`ParallelIterator::sum`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn sum<S: Send + Sum<I::Item> + Sum<S>>(self) -> Result<S, TaskError> {
        self.with(ParallelIterator::sum)
    }

    /// Combines the items, as [`ParallelIterator::reduce`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn reduce<N, F>(self, identity: N, f: F) -> Result<I::Item, TaskError>
    where
        N: Fn() -> I::Item,
        F: Fn(I::Item, I::Item) -> I::Item + Sync,
    {
        self.with(|items| items.reduce(identity, f))
    }

    /// [`map`](Self::map), and [`reduce`](Self::reduce).
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`with`](Self::with).
    pub fn map_reduce<R, M, N, F>(self, map: M, identity: N, reduce: F) -> Result<R, TaskError>
    where
        R: Send,
        M: Fn(I::Item) -> R + Sync + Send,
        N: Fn() -> R,
        F: Fn(R, R) -> R + Sync,
    {
        self.map(map).reduce(identity, reduce)
    }
}
