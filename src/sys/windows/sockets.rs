//! Sockets that never block, and streams to workers.
//!
//! - **Y77** A TCP socket is a handle of the system, which can be duplicated and closed as one; it
//!   has one owner.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsSocket, BorrowedSocket, FromRawHandle, IntoRawSocket, OwnedHandle, OwnedSocket,
};

use rustix::event::PollFlags;
use rustix::io::{Result, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

/// Whether a short read means that the next one would block. Not of a TCP connection: the read may
/// have stopped at urgent data, and no event would report the bytes behind it.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// A second handle of a worker's end, so that the worker's death does not reset the connection. If
/// the last handle is closed before all bytes that came were read, the connection is reset, and the
/// bytes that the worker has sent are lost. With this handle the connection is open until the
/// parent shuts it down, after it has read everything.
pub(crate) fn keep(theirs: &Stream) -> io::Result<Option<OwnedSocket>> {
    Ok(Some(theirs.try_clone()?.into()))
}

/// A write to this socket raises no signal: there is none.
pub(crate) fn quiet(_socket: impl AsSocket) {}

/// The name of the system call that accepts a connection.
pub(crate) const ACCEPT: &str = "accept";

/// A new connection, which does not block, and the address of its other end.
pub(crate) fn accept(listener: BorrowedSocket<'_>) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    ioctl_fionbio(&socket, true)?;
    Ok((socket, peer))
}

/// The flags of a write that neither waits nor raises a signal: none, because our end of a stream
/// never blocks.
pub(crate) const SEND: SendFlags = SendFlags::empty();

/// The flags of a write that raises no signal: none are needed.
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// The same: bytes are never held back for those that follow.
pub(crate) const MORE: SendFlags = QUIET;

/// The flags of a read that does not wait: none, because our end never blocks.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::empty();

/// The event that the other end will send no more: `poll` has none here.
pub(crate) const ENDS: PollFlags = PollFlags::empty();

/// One end of a stream.
pub(crate) use std::net::TcpStream as Stream;

/// The two ends of a stream, the first of which never blocks.
pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
    let (ours, theirs) = super::pair::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// The socket as a standard stream of a child.
pub(crate) fn to_child(end: Stream) -> OwnedHandle {
    let number = end.into_raw_socket() as usize;
    let handle = std::ptr::with_exposed_provenance_mut(number);
    // SAFETY: Y77.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn what_a_worker_has_sent_can_be_read_whatever_it_had_not_read() {
        let (mut ours, mut theirs) = pair().unwrap();
        let kept = Stream::from(keep(&theirs).unwrap().unwrap());
        ours.write_all(b"unread").unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut count = 0;
        while let Ok(some) = theirs.write(&[7; 4096]) {
            count += some;
        }
        drop(theirs);
        kept.shutdown(Shutdown::Write).unwrap();
        ours.set_nonblocking(false).unwrap();
        let mut all = Vec::new();
        ours.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), count);
    }
}
