//! The next item of a stream, without another crate.
//!
//! Each stream of this crate has an inherent, `async` `next` that calls this. A trait with such a
//! method would make `.next()` ambiguous for code that also imports that of the crate `futures`.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;

/// Waits for the next item; dropping it loses none.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
