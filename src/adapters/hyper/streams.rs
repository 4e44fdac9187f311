//! hyper's `Read` and `Write` on our streams.
//!
//! Reading goes straight into hyper's buffer (`raw_fill`), writing through the futures-io trait
//! that each stream has: one system call each, vectored where hyper has several pieces.
//! hyper's `shutdown` closes the writing direction, as `poll_close` does.
//!
//! Checked by `adapters/tests/`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use futures_io::AsyncWrite;

use crate::adapters::raw_fill;
use crate::io::{ReadHalf, TcpStream, UnixStream, WriteHalf};

macro_rules! reads {
    ($($type:ty),*) => { $(
        impl Read for $type {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                raw_fill::hyper_from(&*self, cx, buffer)
            }
        }
    )* };
}

macro_rules! writes {
    ($($type:ty),*) => { $(
        impl Write for $type {
            #[inline]
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write(self, cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                AsyncWrite::poll_close(self, cx)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            #[inline]
            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                AsyncWrite::poll_write_vectored(self, cx, slices)
            }
        }
    )* };
}

reads!(TcpStream, &TcpStream, UnixStream, &UnixStream);
reads!(ReadHalf<TcpStream>, ReadHalf<UnixStream>);
writes!(TcpStream, &TcpStream, UnixStream, &UnixStream);
writes!(WriteHalf<TcpStream>, WriteHalf<UnixStream>);
