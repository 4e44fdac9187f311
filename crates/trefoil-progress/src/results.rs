//! Bars for iterators and streams of results.
//!
//! **Job.** A [`WithBar`] around an iterator is an iterator, and around a stream it is a stream: it
//! counts the items that pass. So the bar shows how many results have been taken, and is drawn on
//! the thread that takes them; an endless input has a count and no end. [`AsCompleted`] is both a
//! stream and an iterable; so is this.

use std::future::poll_fn;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use trefoil::process::Portable;
use trefoil::task::{AsCompleted, AsCompletedIter};
use trefoil::{process, thread};

use super::{Progress, Seal, WithBar};

impl<T> Progress for AsCompleted<T> {
    fn count(&self, _: Seal) -> Option<usize> {
        self.size_hint().1
    }
}

impl<R> Progress for thread::Imap<R> {
    fn count(&self, _: Seal) -> Option<usize> {
        self.size_hint().1
    }
}

impl<R> Progress for thread::ImapStream<R> {
    fn count(&self, _: Seal) -> Option<usize> {
        self.size_hint().1
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Progress for process::Imap<I, R> {
    fn count(&self, _: Seal) -> Option<usize> {
        self.size_hint().1
    }
}

impl<I: Iterator<Item: Portable>, R: Portable> Progress for process::ImapStream<I, R> {
    fn count(&self, _: Seal) -> Option<usize> {
        self.size_hint().1
    }
}

/// The iterators that can have a bar. (A bound of this crate's: so the compiler knows that
/// `AsCompleted`, which is turned into an iterator, is none itself.)
pub trait Results: Iterator {}
impl<R> Results for thread::Imap<R> {}
impl<I: Iterator<Item: Portable>, R: Portable> Results for process::Imap<I, R> {}
impl<T> Results for AsCompletedIter<T> {}

impl<S: Results> Iterator for WithBar<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        let item = self.source.next();
        self.bar.passed(item.is_some());
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.size_hint()
    }
}

impl<S: Results + ExactSizeIterator> ExactSizeIterator for WithBar<S> {}
impl<S: Results + FusedIterator> FusedIterator for WithBar<S> {}

impl<S: Stream + Unpin> WithBar<S> {
    /// Waits for the next result, without another crate: `while let Some(result) =
    /// stream.next().await`.
    pub async fn next(&mut self) -> Option<S::Item> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<S: Stream + Unpin> Stream for WithBar<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = Pin::new(&mut self.source).poll_next(cx);
        if let Poll::Ready(item) = &polled {
            self.bar.passed(item.is_some());
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.size_hint()
    }
}

impl<T> IntoIterator for WithBar<AsCompleted<T>> {
    type Item = <AsCompletedIter<T> as Iterator>::Item;
    type IntoIter = WithBar<AsCompletedIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        WithBar {
            source: self.source.into_iter(),
            bar: self.bar,
        }
    }
}
