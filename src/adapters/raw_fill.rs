//! The buffers that hyper and tokio give their readers, filled.
//!
//! Both are memory of which a part has no value yet, and a promise: that the part said to be
//! filled has been written. Whoever keeps that promise without writing zeros first needs
//! `unsafe`, so it is all here.
//!
//! - **D1** Memory without a value goes to [`ReadUninit`] only, which writes to it or leaves it,
//!   and is never read. It gives the number of bytes at the front that have been
//!   written (I1), which is what is said to be filled.
//! - **D2** Memory that is lent to any other reader has been written before, with zeros if need be.
//!   Whatever that reader says it has filled is compared with the memory's length.
//! - **D3** The other's `ReadBuf` may lie between, made over the memory as one of which nothing has
//!   been written. It counts what is, whoever fills it with safe code; all that such code can do is to put another one
//!   in its place. That is found out before the count is used: one that begins at the same place and has room for as many bytes is over the
//!   same bytes (a beginning alone says nothing: where no byte is left, another memory may follow right behind).
//!
//! Checked by `adapters/tests/` and by the unit tests here.
#![allow(unsafe_code)]

use std::io;
use std::task::{Context, Poll, ready};

use crate::io::ReadUninit;

/// Reads from one of our streams into hyper's buffer.
#[cfg(feature = "hyper")]
#[inline]
pub(super) fn hyper_from(
    stream: &impl ReadUninit,
    cx: &mut Context<'_>,
    mut buffer: ::hyper::rt::ReadBufCursor<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: D1: what may have no value goes to a `ReadUninit`, which does not read it, and writes values only.
    let memory = unsafe { buffer.as_mut() };
    let count = ready!(stream.poll_read_uninit(cx, memory))?;
    // SAFETY: D1, I1: so many bytes at the front have been written, as `poll_read_uninit` says.
    unsafe { buffer.advance(count) };
    Poll::Ready(Ok(()))
}

/// Lets any reader read into hyper's buffer.
#[cfg(feature = "hyper")]
pub(super) fn hyper_with(
    mut buffer: ::hyper::rt::ReadBufCursor<'_>,
    read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<()>> {
    let memory = buffer.initialize_unfilled();
    let length = memory.len();
    let count = ready!(read(memory))?;
    assert!(
        count <= length,
        "a reader read more than there was room for"
    );
    // SAFETY: D2: `initialize_unfilled` has written all of it, and the count has just been found to be within.
    unsafe { buffer.advance(count) };
    Poll::Ready(Ok(()))
}

/// Reads from one of our streams into tokio's buffer.
#[cfg(feature = "tokio-io")]
#[inline]
pub(super) fn tokio_from(
    stream: &impl ReadUninit,
    cx: &mut Context<'_>,
    buffer: &mut tokio::io::ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    // SAFETY: D1: what may have no value goes to a `ReadUninit`, which does not read it, and writes values only.
    let memory = unsafe { buffer.unfilled_mut() };
    let count = ready!(stream.poll_read_uninit(cx, memory))?;
    // SAFETY: D1, I1: so many bytes at the front have been written, as `poll_read_uninit` says.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Poll::Ready(Ok(()))
}

/// Lets tokio's kind of reader read into hyper's buffer.
#[cfg(all(feature = "hyper", feature = "tokio-io"))]
pub(super) fn hyper_from_tokio(
    mut buffer: ::hyper::rt::ReadBufCursor<'_>,
    read: impl FnOnce(&mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    // SAFETY: D3: it goes to a `ReadBuf` that has counted nothing yet, and gives nobody bytes that were not written.
    let mut inner = tokio::io::ReadBuf::uninit(unsafe { buffer.as_mut() });
    let place = |inner: &tokio::io::ReadBuf<'_>| (inner.filled().as_ptr(), inner.capacity());
    let ours = place(&inner);
    ready!(read(&mut inner))?;
    assert!(ours == place(&inner), "a reader put another buffer in");
    let count = inner.filled().len();
    // SAFETY: D3: it is over our bytes still, and what it calls filled has been written; that is no more than there are.
    unsafe { buffer.advance(count) };
    Poll::Ready(Ok(()))
}

/// Lets hyper's kind of reader read into tokio's buffer.
#[cfg(all(feature = "hyper", feature = "tokio-io"))]
pub(super) fn tokio_from_hyper(
    buffer: &mut tokio::io::ReadBuf<'_>,
    read: impl FnOnce(::hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    // SAFETY: D3: it goes to a `ReadBuf` that has counted nothing yet, and gives nobody bytes that were not written.
    let mut inner = ::hyper::rt::ReadBuf::uninit(unsafe { buffer.unfilled_mut() });
    ready!(read(inner.unfilled()))?;
    let count = inner.filled().len();
    // SAFETY: D3: what it calls filled has been written, and it is ours: only its cursor was
    // given away.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Poll::Ready(Ok(()))
}

#[cfg(all(test, feature = "hyper", feature = "tokio-io"))]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // a test's memory, sixteen bytes for any lifetime
    fn a_buffer_that_begins_where_ours_ends_is_another() {
        let memory: &'static mut [u8] = Box::leak(Box::new([0; 16]));
        let (ours, next) = memory.split_at_mut(8);
        let mut next = Some(next);
        let mut theirs = ::hyper::rt::ReadBuf::new(ours);
        theirs.unfilled().put_slice(&[7; 8]); // no room is left: it begins where it ends
        let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            hyper_from_tokio(theirs.unfilled(), |buffer| {
                *buffer = tokio::io::ReadBuf::new(next.take().unwrap());
                buffer.put_slice(&[1; 8]);
                Poll::Ready(Ok(()))
            })
        }));
        assert!(filled.is_err(), "eight bytes in no room");
        assert_eq!(theirs.filled(), [7; 8]);
    }
}
