//! Reads and writes of sockets, one system call each. The sockets do not block, and no write raises
//! a signal.
//!
//! Of several buffers, only the first that is not empty is used. On a non-blocking socket, a call
//! for several buffers does no more than that either.

use std::io::{IoSlice, IoSliceMut};
use std::os::windows::io::BorrowedSocket;

use rustix::buffer::Buffer;
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// The error of a pipe without a reader (`ERROR_NO_DATA`); its kind is `BrokenPipe`.
const NO_READER: Errno = Errno::from_raw_os_error(232);

/// Reads into one buffer. (At the end of the stream: no bytes.)
#[inline]
pub fn receive<B: Buffer<u8>>(
    from: BorrowedSocket<'_>,
    _is_socket: bool,
    buffer: B,
) -> Result<B::Output> {
    Ok(recv(from, buffer, RecvFlags::empty())?.0)
}

/// Reads into the first of several buffers that is not empty.
pub fn receive_several(from: BorrowedSocket<'_>, buffers: &mut [IoSliceMut<'_>]) -> Result<usize> {
    let mut buffers = buffers.iter_mut();
    match buffers.find(|buffer| !buffer.is_empty()) {
        Some(buffer) => receive(from, true, &mut **buffer),
        None => Err(Errno::INVAL),
    }
}

/// Writes some bytes of the first slice that is not empty.
#[inline]
pub fn transmit(to: BorrowedSocket<'_>, is_socket: bool, slices: &[IoSlice<'_>]) -> Result<usize> {
    match send_several(to, slices, SendFlags::empty()) {
        // The socket stands for a pipe, whose reader is gone.
        Err(Errno::CONNRESET | Errno::CONNABORTED) if !is_socket => Err(NO_READER),
        sent => sent,
    }
}

/// Writes some bytes of the first slice that is not empty, to a socket.
pub(crate) fn send_several(
    to: BorrowedSocket<'_>,
    slices: &[IoSlice<'_>],
    flags: SendFlags,
) -> Result<usize> {
    match slices.iter().find(|slice| !slice.is_empty()) {
        Some(slice) => send(to, slice, flags),
        None => Ok(0),
    }
}
