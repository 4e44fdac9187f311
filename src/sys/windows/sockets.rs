//! Sockets that do not block from the beginning, and streams to workers.
//!
//! - **Y77** A socket of TCP is a handle of the system's own kind, which can be duplicated and
//!   closed as such; it has one owner.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    BorrowedSocket, FromRawHandle, IntoRawSocket, OwnedHandle, OwnedSocket,
};

use rustix::event::PollFlags;
use rustix::io::{Result, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

/// A short read of a TCP connection may have stopped at a mark of urgent data, and no event would
/// tell of what comes behind.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// A stream is a connection. What a process has written to it may arrive after its death; if the
/// process has not read all that came, the connection is reset, and the rest is lost.
pub(crate) const IS_CONNECTION: bool = true;

/// The call that accepts.
pub(crate) const ACCEPT: &str = "accept";

/// A connection, which does not block, and its other end's address.
pub(crate) fn accept(listener: BorrowedSocket<'_>) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    ioctl_fionbio(&socket, true)?;
    Ok((socket, peer))
}

/// It neither waits nor raises a signal: nothing else is said here, for our end of a stream never
/// blocks.
pub(crate) const SEND: SendFlags = SendFlags::empty();

/// It raises no signal.
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// It does not wait: our end never blocks.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::empty();

/// The event that the other end says no more: none.
pub(crate) const ENDS: PollFlags = PollFlags::empty();

/// One end of a stream.
pub(crate) use std::net::TcpStream as Stream;

/// Two ends of a stream, the first of which never blocks.
pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    let (ours, theirs) = super::pair::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// As a child's standard stream.
pub(crate) fn to_child(end: Stream) -> OwnedHandle {
    let number = end.into_raw_socket() as usize;
    let handle = std::ptr::with_exposed_provenance_mut(number);
    // SAFETY: Y77.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}
