//! Results one by one: to a task that polls, and to a thread that blocks.
//!
//! **Job.** What yields results one by one ([`Results`]: `as_completed` and the `imap`s) says how to
//! poll for the next one and how to block for it. Here are the stream and the iterator over any of
//! them, and the form with indices.
//!
//! The stream's `next` is a method. As that of a trait it would be ambiguous for code that also
//! imports that of the crate `futures`.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::task::outcome::Seal;

/// What yields results one by one: [`as_completed`](crate::as_completed) and the `imap`s of the
/// pools. Only this crate implements it.
pub trait Results {
    /// One result.
    type Item;

    /// The next result, with the number of its task or item.
    #[doc(hidden)]
    fn poll_result(&mut self, cx: &mut Context<'_>, _: Seal) -> Poll<Option<(usize, Self::Item)>>;

    /// Waits for it, where this thread may block.
    #[doc(hidden)]
    fn wait_result(&mut self, _: Seal) -> Option<(usize, Self::Item)>;

    /// How many are still to come, as far as is known.
    #[doc(hidden)]
    fn left(&self, _: Seal) -> (usize, Option<usize>);
}

/// Results one by one, for async code: a [`Stream`] with a method [`next`](Self::next).
///
/// It works on any runtime. Made by [`as_completed`](crate::as_completed) and by the `stream` of the
/// `imap`s. `for` blocks for each result, as a [`ResultIter`] does.
///
/// # Cancel safety
/// A poll takes a result only if it returns it.
#[must_use = "it does nothing until it is asked for results"]
#[derive(Debug)]
pub struct ResultStream<S>(pub(crate) S);

/// Results one by one, for blocking code: the iterator of a [`ResultStream`].
///
/// On an event-loop thread it never blocks: what has ended is given first, then
/// [`WouldBlock`](crate::TaskError::WouldBlock) for what has not.
#[must_use = "it does nothing until it is asked for results"]
#[derive(Debug)]
pub struct ResultIter<S>(S);

/// Results with the indices of their items; from `with_index` of the `imap`s.
#[must_use = "it does nothing until it is asked for results"]
#[derive(Debug)]
pub struct Indexed<S>(pub(crate) S);

impl<S: Results> ResultStream<S> {
    /// Waits for the next result, without another crate: `while let Some(result) =
    /// results.next().await`.
    ///
    /// # Cancel safety
    /// Dropping the future loses no result.
    pub async fn next(&mut self) -> Option<S::Item> {
        let next = poll_fn(|cx| self.0.poll_result(cx, Seal)).await;
        next.map(|(_, result)| result)
    }

    /// Each result with the index of its item in the input, from 0.
    pub fn with_index(self) -> ResultStream<Indexed<S>> {
        ResultStream(Indexed(self.0))
    }
}

// Sources are not pinned, and results only pass through.
impl<S> Unpin for ResultStream<S> {}

impl<S: Results> Stream for ResultStream<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let next = self.0.poll_result(cx, Seal);
        next.map(|next| next.map(|(_, result)| result))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.left(Seal)
    }
}

impl<S: Results> IntoIterator for ResultStream<S> {
    type Item = S::Item;
    type IntoIter = ResultIter<S>;

    fn into_iter(self) -> ResultIter<S> {
        ResultIter(self.0)
    }
}

impl<S: Results> Iterator for ResultIter<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        self.0.wait_result(Seal).map(|(_, result)| result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.left(Seal)
    }
}

impl<S: Results> Indexed<S> {
    /// The same for async code.
    pub fn stream(self) -> ResultStream<Self> {
        ResultStream(self)
    }
}

fn indexed<R>(next: Option<(usize, R)>) -> Option<(usize, (usize, R))> {
    next.map(|(index, result)| (index, (index, result)))
}

impl<S: Results> Results for Indexed<S> {
    type Item = (usize, S::Item);

    fn poll_result(&mut self, cx: &mut Context<'_>, _: Seal) -> Poll<Option<(usize, Self::Item)>> {
        self.0.poll_result(cx, Seal).map(indexed)
    }

    fn wait_result(&mut self, _: Seal) -> Option<(usize, Self::Item)> {
        indexed(self.0.wait_result(Seal))
    }

    fn left(&self, _: Seal) -> (usize, Option<usize>) {
        self.0.left(Seal)
    }
}

impl<S: Results> Iterator for Indexed<S> {
    type Item = (usize, S::Item);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.wait_result(Seal)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.left(Seal)
    }
}
