//! Sockets that do not block from the beginning.

use std::os::windows::io::{BorrowedSocket, OwnedSocket};

use rustix::io::{Result, ioctl_fionbio};
use rustix::net::SocketAddrAny;

/// A short read of a TCP connection may have stopped at a mark of urgent data, and no event would tell of what comes behind.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// The call that accepts.
pub(crate) const ACCEPT: &str = "accept";

/// A connection, which does not block, and its other end's address.
pub(crate) fn accept(listener: BorrowedSocket<'_>) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    ioctl_fionbio(&socket, true)?;
    Ok((socket, peer))
}
