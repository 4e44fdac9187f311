//! Results in the order in which they come, each with a key of the caller's.
//!
//! The keys are kept next to an [`AsCompleted`], which returns the number of the task that has
//! ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::IntoTask;
use super::as_completed::{AsCompleted, Numbered, as_completed};
use crate::task::error::TaskError;
use crate::task::raw::Task;

/// Yields results of tasks with keys as they end. Each result comes with the key of its task: the
/// URL that was fetched, the file that was read. (Python's `future_to_url[future]`.)
///
/// It is a [`Stream`] for async code, and in blocking code a `for` loop can iterate over it. Keys
/// may be of any type, and need not be different.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let texts = ["one", "three", "5"];
/// let tasks = texts.map(|text| (text, pool.spawn(move || text.parse::<u64>().is_ok())));
/// for (text, is_number) in trefoil::as_completed_keyed(tasks) {
///     assert_eq!(is_number.unwrap(), text == "5");
/// }
/// ```
///
/// # Cancel safety
/// See [`as_completed`].
pub fn as_completed_keyed<K, T>(
    pairs: impl IntoIterator<Item = (K, impl IntoTask<T>)>,
) -> AsCompletedKeyed<K, T> {
    let (keys, tasks): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(key, task)| (Some(key), task))
        .unzip();
    AsCompletedKeyed {
        keys,
        results: as_completed(tasks),
    }
}

/// Returned by [`as_completed_keyed`].
///
/// ```
/// use trefoil::{Task, as_completed_keyed};
///
/// trefoil::run(async {
///     let mut results = as_completed_keyed([("one", Task::ready(1))]);
///     let (word, number) = results.next().await.unwrap();
///     assert_eq!((word, number.unwrap()), ("one", 1));
/// });
/// ```
#[must_use = "it gives its results only when they are asked for"]
pub struct AsCompletedKeyed<K, T> {
    /// The keys. `None`: it was returned with its result.
    keys: Vec<Option<K>>,
    results: AsCompleted<T>,
}

impl<K, T> AsCompletedKeyed<K, T> {
    /// Waits for the next result. This needs no other crate: `while let Some((key, result)) =
    /// results.next().await`.
    ///
    /// # Cancel safety
    /// Dropping the returned future loses no result.
    pub async fn next(&mut self) -> Option<(K, Result<T, TaskError>)> {
        let numbered = poll_fn(|cx| self.results.poll_numbered(cx)).await;
        self.with_key(numbered)
    }

    fn with_key(&mut self, numbered: Option<Numbered<T>>) -> Option<(K, Result<T, TaskError>)> {
        let (number, ended) = numbered?;
        Some((self.keys[number].take()?, ended.and_then(Task::join)))
    }
}

// Nothing in it is pinned.
impl<K, T> Unpin for AsCompletedKeyed<K, T> {}

impl<K, T> Stream for AsCompletedKeyed<K, T> {
    type Item = (K, Result<T, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let numbered = ready!(self.results.poll_numbered(cx));
        Poll::Ready(self.with_key(numbered))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

impl<K, T> IntoIterator for AsCompletedKeyed<K, T> {
    type Item = (K, Result<T, TaskError>);
    type IntoIter = AsCompletedKeyedIter<K, T>;

    fn into_iter(self) -> AsCompletedKeyedIter<K, T> {
        AsCompletedKeyedIter { results: self }
    }
}

/// The blocking half of [`as_completed_keyed`]: `next` waits for the next result.
///
/// On an event-loop thread it never blocks: it returns the results of tasks that have ended, and
/// then one [`TaskError::WouldBlock`] with the key of each other task, which is dropped.
///
/// ```
/// use trefoil::{Task, as_completed_keyed};
///
/// let mut results = as_completed_keyed([("one", Task::ready(1))]).into_iter();
/// assert!(matches!(results.next(), Some(("one", Ok(1)))));
/// assert!(results.next().is_none());
/// ```
pub struct AsCompletedKeyedIter<K, T> {
    results: AsCompletedKeyed<K, T>,
}

impl<K, T> Iterator for AsCompletedKeyedIter<K, T> {
    type Item = (K, Result<T, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        let numbered = self.results.results.next_numbered();
        self.results.with_key(numbered)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

impl<K, T> ExactSizeIterator for AsCompletedKeyedIter<K, T> {}

debug!(impl<K, T> AsCompletedKeyed<K, T>, self, results = self.results);

debug!(impl<K, T> AsCompletedKeyedIter<K, T>, self, results = self.results);
