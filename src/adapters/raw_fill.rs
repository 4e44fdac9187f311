//! Fills the buffers that hyper and tokio give their readers.
//!
//! Both are partly uninitialised memory, and a reader promises that the part that it reports as
//! filled was written. Keeping that promise without writing zeros first takes `unsafe`, all of
//! which is here.
//!
//! - **D1** Uninitialised memory is passed only to `poll_read_uninit`, which writes to it or leaves
//!   it, and never reads it. It returns the number of bytes at the front that have been written
//!   (I1), and exactly these are reported as filled.
//!
//! Tests:
//! `tests/trefoil-adapters/tests/connections/tokio_io.rs::a_partly_filled_buffer_is_filled_further`,
//! `tests/trefoil-adapters/tests/connections/http1.rs::large_bodies_both_ways_at_once`.
#![allow(unsafe_code)]

use std::io;
use std::task::{Context, Poll, ready};

use crate::io::{ByteDescriptor, IoSource};

/// Implements hyper's or tokio's `$trait` for this crate's types, with a function that fills a
/// `$buffer` from `$from` (`$this` is the pinned `self`).
macro_rules! reads {
    ($trait:path, $buffer:ty; $this:ident => $from:expr, $fill:path; $($type:ty),*) => { $(
        impl $trait for $type {
            #[inline]
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: $buffer,
            ) -> std::task::Poll<std::io::Result<()>> {
                let $this = self;
                $fill($from, cx, buffer)
            }
        }
    )* };
}
pub(super) use reads;

/// Reads from a stream of this crate into hyper's buffer.
#[cfg(feature = "hyper")]
#[inline]
pub(super) fn hyper_from(
    source: &IoSource<impl ByteDescriptor>,
    cx: &mut Context<'_>,
    mut buffer: ::hyper::rt::ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: D1: uninitialised memory goes to `poll_read_uninit`, which does not read it, and
    // writes only initialised bytes.
    let memory = unsafe { buffer.as_mut() };
    let count = ready!(source.poll_read_uninit(cx, memory))?;
    // SAFETY: D1, I1: `poll_read_uninit` has written this many bytes at the front.
    unsafe { buffer.advance(count) };
    Poll::Ready(Ok(()))
}

/// Reads from a stream of this crate into tokio's buffer.
#[cfg(feature = "tokio-io")]
#[inline]
pub(super) fn tokio_from(
    source: &IoSource<impl ByteDescriptor>,
    cx: &mut Context<'_>,
    buffer: &mut tokio::io::ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: D1: uninitialised memory goes to `poll_read_uninit`, which does not read it, and
    // writes only initialised bytes.
    let memory = unsafe { buffer.unfilled_mut() };
    let count = ready!(source.poll_read_uninit(cx, memory))?;
    // SAFETY: D1, I1: `poll_read_uninit` has written this many bytes at the front.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Poll::Ready(Ok(()))
}
