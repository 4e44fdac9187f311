//! hyper's `Read` and `Write` on our streams.
//!
//! Reading goes straight into hyper's buffer (`raw_fill`), writing through the futures-io trait
//! that each stream has (`writes`): one system call each, vectored where hyper has several pieces.
//! hyper's `shutdown` closes the writing direction, as `poll_close` does.
//!
//! Checked by `adapters/tests/`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::rt::{Read, ReadBufCursor, Write};

use crate::adapters::raw_fill;
use crate::adapters::writes::stream_writes;
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

reads!(TcpStream, &TcpStream, UnixStream, &UnixStream);
reads!(ReadHalf<TcpStream>, ReadHalf<UnixStream>);
stream_writes!(Write; TcpStream, &TcpStream, UnixStream, &UnixStream);
stream_writes!(Write; WriteHalf<TcpStream>, WriteHalf<UnixStream>);
