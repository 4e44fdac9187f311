//! The next item of a stream, without another crate.
//!
//! Each stream of this crate has an inherent `next` that returns this. A trait with such a method
//! would make `.next()` ambiguous for code that also imports that of the crate `futures`.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

/// What the method `next` of a stream of this crate returns: a future of the next item, `None` at
/// the end.
///
/// ```
/// # trefoil::run(async {
/// let mut results = trefoil::as_completed([trefoil::Task::ready(7)]);
/// while let Some(result) = results.next().await {
///     assert_eq!(result.unwrap(), 7);
/// }
/// # });
/// ```
///
/// # Cancel safety
/// Dropping it loses no item.
#[must_use = "it does nothing until it is awaited"]
#[derive(Debug)]
pub struct Next<'a, S> {
    stream: &'a mut S,
}

impl<'a, S: Stream + Unpin> Next<'a, S> {
    pub(crate) fn of(stream: &'a mut S) -> Self {
        Self { stream }
    }
}

impl<S: Stream + Unpin> Future for Next<'_, S> {
    type Output = Option<S::Item>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.stream).poll_next(cx)
    }
}
