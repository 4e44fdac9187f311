//! Maps that end when a token is cancelled.
//!
//! Where the token is looked at: `thread/map/until.rs`.
//!
//! Tests: `tests/thread/until.rs`.

use super::map::items::Items;
use super::map::source::Seal;
use super::map::until::{Cancellable, until};
use super::pool::ThreadPool;
use crate::task::{CancelToken, TaskError};

/// The methods of a pool that begin no item after a cancel: [`ThreadPool::until`].
///
/// ```
/// use trefoil::{CancelToken, ThreadPool};
///
/// let (pool, token) = (ThreadPool::with_threads(2), CancelToken::new());
/// let until = pool.until(&token);
/// assert_eq!(until.map(["a", "bc"], |word| word.len())?, [1, 2]);
/// token.cancel();
/// assert!(until.map(["a", "bc"], |word| word.len()).is_err());
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct UntilCancelled<'a> {
    pool: &'a ThreadPool,
    token: &'a CancelToken,
}

impl ThreadPool {
    /// Maps over items that may be borrowed, which begin no item after `token` is cancelled.
    ///
    /// Each thread looks at the token before each item. So what the caller of
    /// [`cancel`](CancelToken::cancel), or an item that calls it, has begun by then runs to its
    /// end, and nothing else begins on that thread; other threads see it a moment later, as they
    /// see any store. To end earlier, a long item checks the token itself
    /// ([`CancelToken::check`]).
    ///
    /// They wait for the items that have begun, so nothing borrowed is used afterwards; items that
    /// have not begun, and results, are dropped. The deadline of a token counts, too. (If the items
    /// are a parallel iterator, see
    /// [`ParallelIterator::until`](crate::iter::ParallelIterator::until).)
    ///
    /// # Errors
    /// [`TaskError::Cancelled`] if an item was left out. A cancel after the last item has begun
    /// changes nothing: the result is whole, and returned.
    ///
    /// # Panics
    /// As [`map`](Self::map). The panic of an item is resumed even if the token is cancelled.
    ///
    /// # Cost
    /// One relaxed load for each item, and a clock read if the token has a deadline. As the number
    /// of results is not known in advance, `map` collects them piece by piece.
    ///
    /// ```
    /// use trefoil::{CancelToken, TaskError, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(2);
    /// let (words, token) = (vec!["a", "bc", "def"], CancelToken::new());
    /// assert_eq!(pool.until(&token).map(&words, |word| word.len())?, [1, 2, 3]);
    ///
    /// let stopped = pool.until(&token).for_each(0..u64::MAX, |n| if n == 5 { token.cancel() });
    /// assert!(matches!(stopped, Err(TaskError::Cancelled)));
    /// # Ok::<_, TaskError>(())
    /// ```
    #[must_use]
    pub fn until<'a>(&'a self, token: &'a CancelToken) -> UntilCancelled<'a> {
        UntilCancelled { pool: self, token }
    }
}

impl UntilCancelled<'_> {
    /// Maps the items, as [`ThreadPool::map`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`ThreadPool::until`].
    ///
    /// # Panics
    /// If `f` does.
    pub fn map<I, R, F>(&self, items: I, f: F) -> Result<Vec<R>, TaskError>
    where
        I: Items,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        let items = items.into_source(Seal);
        let Cancellable { items, stop } = until(self.token, items);
        stop.result(self.pool.map(items, f))
    }

    /// Calls `f` with each item, as [`ThreadPool::for_each`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`ThreadPool::until`].
    ///
    /// # Panics
    /// If `f` does.
    pub fn for_each<I, F>(&self, items: I, f: F) -> Result<(), TaskError>
    where
        I: Items,
        F: Fn(I::Item) + Sync,
    {
        self.map(items, f).map(drop)
    }

    /// Maps the items and combines the results, as [`ThreadPool::map_reduce`] does.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`]: see [`ThreadPool::until`].
    ///
    /// # Panics
    /// If `map`, `identity` or `reduce` does.
    pub fn map_reduce<I, R, M, N, F>(
        &self,
        items: I,
        map: M,
        identity: N,
        reduce: F,
    ) -> Result<R, TaskError>
    where
        I: Items,
        R: Send,
        M: Fn(I::Item) -> R + Sync,
        N: Fn() -> R,
        F: Fn(R, R) -> R + Sync,
    {
        let items = items.into_source(Seal);
        let Cancellable { items, stop } = until(self.token, items);
        stop.result(self.pool.map_reduce(items, map, identity, reduce))
    }
}
