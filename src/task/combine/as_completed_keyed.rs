//! Results in the order in which they come, each with what its caller knows it by.
//!
//! The keys lie beside an [`AsCompleted`], which says the number of the task that has ended.

use std::fmt;
use std::task::{Context, Poll, ready};

use super::as_completed::{AsCompleted, Numbered};
use super::results::{ResultIter, ResultStream, Results};
use crate::task::error::TaskError;
use crate::task::outcome::Seal;
use crate::task::raw::Task;

/// Like [`as_completed`](crate::as_completed), where each task comes with a key, which is given back with its result:
/// the URL that was fetched, the file that was read. (Python's `future_to_url[future]`.)
///
/// A [`ResultStream`]: a stream in async code, and in blocking code something to loop over with
/// `for`. Keys may be of any type, and may be alike.
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
/// As [`as_completed`](crate::as_completed).
pub fn as_completed_keyed<K, T>(
    pairs: impl IntoIterator<Item = (K, Task<T>)>,
) -> ResultStream<AsCompletedKeyed<K, T>> {
    let (keys, tasks): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .map(|(key, task)| (Some(key), task))
        .unzip();
    ResultStream(AsCompletedKeyed {
        keys,
        results: AsCompleted::of(tasks),
    })
}

/// The tasks of [`as_completed_keyed`], which returns a [`ResultStream`] of them.
pub struct AsCompletedKeyed<K, T> {
    /// `None`: it was given with its result.
    keys: Vec<Option<K>>,
    results: AsCompleted<T>,
}

type Keyed<K, T> = (usize, (K, Result<T, TaskError>));

impl<K, T> AsCompletedKeyed<K, T> {
    fn with_key(&mut self, next: Option<Numbered<T>>) -> Option<Keyed<K, T>> {
        let (number, result) = next?;
        Some((number, (self.keys[number].take()?, result)))
    }
}

impl<K, T> Results for AsCompletedKeyed<K, T> {
    type Item = (K, Result<T, TaskError>);

    fn poll_result(&mut self, cx: &mut Context<'_>, _: Seal) -> Poll<Option<Keyed<K, T>>> {
        let next = ready!(self.results.poll_result(cx, Seal));
        Poll::Ready(self.with_key(next))
    }

    fn wait_result(&mut self, _: Seal) -> Option<Keyed<K, T>> {
        let next = self.results.wait_result(Seal);
        self.with_key(next)
    }

    fn left(&self, _: Seal) -> (usize, Option<usize>) {
        self.results.left(Seal)
    }
}

impl<K, T> ExactSizeIterator for ResultIter<AsCompletedKeyed<K, T>> {}

impl<K, T> fmt::Debug for AsCompletedKeyed<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsCompletedKeyed")
            .field(&self.results)
            .finish()
    }
}
