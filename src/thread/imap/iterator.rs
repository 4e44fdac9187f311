//! What the consumer of an `imap` sees: results one by one, and the panics of items.
//!
//! **Job.** The public side of a pipeline (`pipeline.rs`): [`Imap`], an iterator that blocks, and
//! [`ImapStream`], which is polled. Both resume a panic where its item is due.
//!
//! On which thread the input runs, how far it is read ahead, what a drop does: `pipeline.rs`.
//!
//! Neither is generic over the iterator and the function: that would save only a call through a
//! table, and make the returned type too long to name.
//!
//! Tests: `tests/thread/imap.rs::{an_items_panic_resumes_where_it_is_due_and_costs_that_item,
//! a_stream_yields_the_same_and_never_blocks}`.

use std::iter::FusedIterator;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::pipeline::{self, Given, Results};
use crate::large::is_large;
use crate::task::next;
use crate::thread::engine::registry::Registry;

/// What [`ThreadPool::imap`](crate::thread::ThreadPool::imap) and
/// [`imap_unordered`](crate::thread::ThreadPool::imap_unordered) return: an iterator over the
/// results.
///
/// Dropping it cancels what is left, without waiting: items not yet begun are dropped, those that
/// run see the cancellation in [`CancelToken::current`](crate::CancelToken::current), and the input
/// iterator is dropped, by the thread that is inside its `next` if there is one. Panics of items
/// whose results were not taken are not reported. (An input that blocks should get that token again
/// in each call of its `next`.)
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let mut squares = pool.imap(1_u64.., |n| n * n).buffer(8); // at most 8 ahead of what is taken
/// assert_eq!((squares.next(), squares.next()), (Some(1), Some(4)));
/// ```
#[must_use = "nothing is pulled from the input before the first `next`"]
pub struct Imap<R> {
    results: Box<dyn Results<R>>,
}

impl<R: Send + 'static> Imap<R> {
    pub(in crate::thread) fn new<I, F>(
        registry: &Arc<Registry>,
        items: I,
        f: F,
        ordered: bool,
    ) -> Self
    where
        I: Iterator<Item: Send> + Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let results = if const { is_large::<R>() } {
            let f = move |item| Box::new(f(item));
            Box::new(MappedResults {
                results: pipeline::start(registry, items, f, ordered),
                map: |_, boxed| *boxed,
            })
        } else {
            pipeline::start(registry, items, f, ordered)
        };
        Self { results }
    }
}

impl<R> Imap<R> {
    /// How many items may be under way at once: pulled from the input, with results not yet taken.
    /// Default: four times the width of the pool, plus 48. 0 means 1.
    ///
    /// A small buffer limits memory; a large one makes tiny items cheaper, because threads wake one
    /// another less often.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let lengths = pool.imap(["a", "bc"], str::len).buffer(1);
    /// assert_eq!(lengths.collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn buffer(self, items: usize) -> Self {
        self.results.set_buffer(items);
        self
    }

    /// Adds indices: each result comes with the index of its item in the input, from 0.
    /// For [`imap_unordered`](crate::thread::ThreadPool::imap_unordered), whose order says nothing;
    /// and for a caller that continues after a panic, whose index is left out.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut lengths = vec![0; 3];
    /// for (index, length) in pool.imap_unordered(["a", "bc", ""], str::len).with_index() {
    ///     lengths[index] = length;
    /// }
    /// assert_eq!(lengths, [1, 2, 0]);
    /// ```
    pub fn with_index(self) -> Imap<(usize, R)>
    where
        R: 'static,
    {
        Imap {
            results: Box::new(MappedResults {
                results: self.results,
                map: |number, result| (number, result),
            }),
        }
    }

    /// The results as a stream, for async code: polling it never blocks, on any runtime.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut squares = pool.imap(1..=3, |n| n * n).stream();
    /// let sum = trefoil::run(async move {
    ///     let mut sum = 0;
    ///     while let Some(square) = squares.next().await {
    ///         sum += square;
    ///     }
    ///     sum
    /// });
    /// assert_eq!(sum, 14);
    /// ```
    pub fn stream(self) -> ImapStream<R> {
        ImapStream {
            results: Some(self.results),
        }
    }
}

/// Results that are changed on their way: large ones are taken out of their boxes, or each gets the
/// index of its item.
struct MappedResults<T, R> {
    results: Box<dyn Results<T>>,
    map: fn(usize, T) -> R,
}

impl<T, R> MappedResults<T, R> {
    fn mapped(&self, given: Given<T>) -> Given<R> {
        match given? {
            Ok((number, result)) => Some(Ok((number, (self.map)(number, result)))),
            Err(panic) => Some(Err(panic)),
        }
    }
}

impl<T, R> Results<R> for MappedResults<T, R> {
    fn next(&mut self) -> Given<R> {
        let given = self.results.next();
        self.mapped(given)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Given<R>> {
        let given = ready!(self.results.poll(cx));
        Poll::Ready(self.mapped(given))
    }

    fn set_buffer(&self, items: usize) {
        self.results.set_buffer(items);
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

fn resumed<R>(given: Given<R>) -> Option<R> {
    match given? {
        Ok((_, result)) => Some(result),
        Err(panic) => panic.resume_unwind(),
    }
}

impl<R> Iterator for Imap<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        resumed(self.results.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.results.size_hint()
    }
}

impl<R> FusedIterator for Imap<R> {}

debug!(impl<R> Imap<R>, self);

/// The results of [`imap`](crate::thread::ThreadPool::imap) or
/// [`imap_unordered`](crate::thread::ThreadPool::imap_unordered) for async code.
///
/// A panic of an item, or of the input, is resumed in the poll where it is due.
///
/// ```
/// use futures::StreamExt;
///
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let squares = trefoil::run(pool.imap(1..4_u64, |n| n * n).stream().collect::<Vec<_>>());
/// assert_eq!(squares, [1, 4, 9]);
/// ```
///
/// # Cancel safety
/// A poll takes a result only if it returns it. Dropping the stream is like dropping the [`Imap`].
#[must_use = "nothing is pulled from the input before the first poll"]
pub struct ImapStream<R> {
    /// `None`: it has ended.
    results: Option<Box<dyn Results<R>>>,
}

impl<R> ImapStream<R> {
    /// Waits for the next result, without another crate: `while let Some(result) =
    /// stream.next().await`.
    pub async fn next(&mut self) -> Option<R> {
        next(self).await
    }
}

impl<R> Stream for ImapStream<R> {
    type Item = R;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R>> {
        let Some(results) = &mut self.results else {
            return Poll::Ready(None);
        };
        let Poll::Ready(given) = results.poll(cx) else {
            return Poll::Pending;
        };
        if given.is_none() {
            self.results = None;
        }
        Poll::Ready(resumed(given))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ended = (0, Some(0));
        self.results
            .as_ref()
            .map_or(ended, |results| results.size_hint())
    }
}

// Nothing in it is pinned.
impl<R> Unpin for ImapStream<R> {}

debug!(impl<R> ImapStream<R>, self);
