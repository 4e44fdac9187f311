//! Reads from and writes to sockets and pipes, each in one system call.
//!
//! On a socket each call asks not to wait, and a write without a reader raises no signal. A pipe
//! must be non-blocking itself.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::buffer::Buffer;
use rustix::io::{Result, read, readv, write, writev};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

use crate::sys::sockets::SEND;

/// Reads into one buffer.
#[inline]
pub fn receive<B: Buffer<u8>>(
    from: BorrowedFd<'_>,
    is_socket: bool,
    buffer: B,
) -> Result<B::Output> {
    if is_socket {
        Ok(recv(from, buffer, RecvFlags::DONTWAIT)?.0)
    } else {
        read(from, buffer)
    }
}

/// Reads into several buffers, one after the other.
#[inline]
pub fn receive_several(from: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
    readv(from, buffers)
}

/// Writes these slices, one after the other.
#[inline]
pub fn transmit(to: BorrowedFd<'_>, is_socket: bool, slices: &[IoSlice<'_>]) -> Result<usize> {
    match slices {
        [bytes] if is_socket => send(to, bytes, SEND),
        [bytes] => write(to, bytes),
        _ if is_socket => send_several(to, slices, SEND),
        _ => writev(to, slices),
    }
}

/// Writes these slices, one after the other, to a socket.
pub(crate) fn send_several(
    to: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    flags: SendFlags,
) -> Result<usize> {
    sendmsg(to, slices, &mut SendAncillaryBuffer::default(), flags)
}
