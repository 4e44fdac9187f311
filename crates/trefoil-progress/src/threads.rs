//! Bars for a thread pool's calls with many items.
//!
//! **Job.** The methods of [`ThreadPool`] with a bar, with the same bounds and results. The thread
//! that has ended an item advances the bar: an addition, and a look at the clock; it draws if no
//! thread has done so for a twentieth of a second. For items of nanoseconds that is too much: group
//! them into larger items.
//!
//! An item that panics is counted by `map_each` alone.

use std::sync::Arc;

use trefoil::iter::{IntoParallelIterator, ParallelIterator};
use trefoil::{Task, TaskError, ThreadPool};

use super::bar::Bar;
use super::{Progress, WithBar};

impl Progress for &ThreadPool {}

impl WithBar<&ThreadPool> {
    /// [`ThreadPool::map`], with a bar.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let words = ["three", "leaves"];
    /// assert_eq!(pool.with_progress().map(&words, |word| word.len()), [5, 6]);
    /// ```
    ///
    /// # Panics
    /// Where [`ThreadPool::map`] does.
    pub fn map<I, R, F>(self, items: I, f: F) -> Vec<R>
    where
        I: IntoParallelIterator,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        self.run(|pool, bar| pool.map(announced(items, bar), |item| bar.after(f(item))))
    }

    /// [`ThreadPool::try_map`], with a bar, which keeps its position after an error.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let parsed = pool.with_progress().try_map(&["1", "x"], |text| text.parse::<u8>());
    /// assert!(parsed.is_err());
    /// ```
    ///
    /// # Errors
    /// Those of [`ThreadPool::try_map`].
    ///
    /// # Panics
    /// Where [`ThreadPool::try_map`] does.
    pub fn try_map<I, R, E, F>(self, items: I, f: F) -> Result<Vec<R>, E>
    where
        I: IntoParallelIterator,
        R: Send,
        E: Send,
        F: Fn(I::Item) -> Result<R, E> + Sync,
    {
        let Self { source, bar } = self;
        let results = source.try_map(announced(items, &bar), |item| {
            f(item).map(|result| bar.after(result))
        })?;
        bar.finish();
        Ok(results)
    }

    /// [`ThreadPool::for_each`], with a bar.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut numbers = [1, 2, 3];
    /// pool.with_progress().for_each(&mut numbers, |number| *number *= 2);
    /// assert_eq!(numbers, [2, 4, 6]);
    /// ```
    ///
    /// # Panics
    /// Where [`ThreadPool::for_each`] does.
    pub fn for_each<I, F>(self, items: I, f: F)
    where
        I: IntoParallelIterator,
        F: Fn(I::Item) + Sync,
    {
        self.map(items, f);
    }

    /// [`ThreadPool::map_each`], with a bar, which counts failed items, too.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let results = pool.with_progress().map_each([1, 0], |n| 10 / n);
    /// assert!(results[0].is_ok() && results[1].is_err());
    /// ```
    pub fn map_each<I, R, F>(self, items: I, f: F) -> Vec<Result<R, TaskError>>
    where
        I: IntoParallelIterator,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        self.run(|pool, bar| {
            pool.map_each(announced(items, bar), |item| {
                let after = After(bar);
                let result = f(item);
                drop(after);
                result
            })
        })
    }

    /// [`ThreadPool::map_task`], with a bar. It keeps its position after a panic, and if the task
    /// is cancelled, except for the items that run then.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let task = pool.with_progress().map_task(vec![1, 2], |n| n * 10);
    /// assert_eq!(task.join().unwrap(), [10, 20]);
    /// ```
    #[track_caller]
    pub fn map_task<I, R, F>(self, items: I, f: F) -> Task<Vec<R>>
    where
        I: IntoParallelIterator<Iter: 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let Self { source, bar } = self;
        let bar = Arc::new(bar);
        let counts = bar.clone();
        let task = source.map_task(announced(items, &bar), move |item| counts.after(f(item)));
        task.map(move |results| {
            bar.finish();
            results
        })
    }

    /// [`ThreadPool::map_reduce`], with a bar.
    ///
    /// ```
    /// use trefoil_progress::Progress;
    ///
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let sum = pool.with_progress().map_reduce(1..=10, |n| n * n, || 0, |a, b| a + b);
    /// assert_eq!(sum, 385);
    /// ```
    ///
    /// # Panics
    /// Where [`ThreadPool::map_reduce`] does.
    pub fn map_reduce<I, R, M, N, F>(self, items: I, map: M, identity: N, reduce: F) -> R
    where
        I: IntoParallelIterator,
        R: Send,
        M: Fn(I::Item) -> R + Sync,
        N: Fn() -> R,
        F: Fn(R, R) -> R + Sync,
    {
        self.run(|pool, bar| {
            let map = |item| bar.after(map(item));
            pool.map_reduce(announced(items, bar), map, identity, reduce)
        })
    }

    fn run<R>(self, work: impl FnOnce(&ThreadPool, &Bar) -> R) -> R {
        let Self { source, bar } = self;
        let result = work(source, &bar);
        bar.finish();
        result
    }
}

/// Advances the bar when it is dropped: also if an item panics.
struct After<'a>(&'a Bar);

impl Drop for After<'_> {
    fn drop(&mut self) {
        self.0.more(1);
    }
}

/// The items, after setting the bar's length to their number, if it is known.
fn announced<I: IntoParallelIterator>(items: I, bar: &Bar) -> I::Iter {
    let items = items.into_par_iter();
    bar.begin(items.opt_len());
    items
}
