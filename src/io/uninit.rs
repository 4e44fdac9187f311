//! Reading into memory that nobody has written yet.
//!
//! hyper and tokio give their readers a buffer whose bytes have no value so far. Filling it with
//! zeros first, so that it can be read into as other buffers are, costs as much as a copy
//! of what could have arrived. The system writes into such memory as into any other, and
//! rustix hands back the part that has been written, as bytes.
//!
//! - **I1** `poll_read_uninit` gives a count only after the system has written that many
//!   bytes to the front of the buffer.
//!
//! One system call each, the same as in `bytes`: on a socket one that is told apart from the calls for
//! any descriptor.
//!
//! Checked by `adapters/tests/tokio_io.rs`, `adapters/tests/http1.rs`.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as UnixSocket;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};

use super::bytes::{Bytes, read_of};
use super::source::Source;
use super::{ChildStderr, ChildStdout, ReadHalf, TcpStream, UnixStream};
use crate::event_loop::Direction;

/// A stream that can be read so.
pub(crate) trait ReadUninit {
    /// As `poll_read` (I1).
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>>;
}

/// What stands behind a stream.
pub(super) trait Uninit: Bytes {
    fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize>;
}

impl Uninit for mio::net::TcpStream {
    #[inline]
    fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        receive(self, buffer)
    }
}

impl Uninit for UnixSocket {
    #[inline]
    fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        receive(self, buffer)
    }
}

impl Uninit for File {
    #[inline]
    fn read_uninit(&self, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let (filled, _) = rustix::io::read(self, buffer)?;
        Ok(filled.len())
    }
}

#[inline]
fn receive(socket: impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let ((filled, _), _) = recv(socket, buffer, RecvFlags::empty())?;
    Ok(filled.len())
}

impl<T: Uninit> Source<T> {
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(self.nothing());
        }
        self.poll(cx, Direction::Read, |io| {
            let count = io.read_uninit(buffer)?;
            Ok(read_of::<T>(buffer.len(), count))
        })
    }
}

macro_rules! read_uninit {
    ($($type:ty)*) => { $(
        impl ReadUninit for $type {
            #[inline]
            fn poll_read_uninit(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [MaybeUninit<u8>],
            ) -> Poll<io::Result<usize>> {
                self.source().poll_read_uninit(cx, buffer)
            }
        }
    )* };
}

read_uninit! { TcpStream UnixStream ReadHalf<TcpStream> ReadHalf<UnixStream> ChildStdout ChildStderr }

impl<S: ReadUninit> ReadUninit for &S {
    #[inline]
    fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        (**self).poll_read_uninit(cx, buffer)
    }
}
