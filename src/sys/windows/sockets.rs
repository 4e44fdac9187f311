//! Sockets that do not block from the beginning, and streams to workers.
//!
//! - **Y77** A socket of TCP is a handle of the system's own kind, which can be duplicated and
//!   closed as such; it has one owner.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{AsRawSocket, BorrowedHandle, BorrowedSocket, OwnedHandle, OwnedSocket};

use rustix::event::PollFlags;
use rustix::io::{Result, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

use super::pair::stays;

/// A short read of a TCP connection may have stopped at a mark of urgent data, and no event would
/// tell of what comes behind.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// Another handle of a worker's end, so that its death resets nothing. A stream is a connection. If
/// its last handle is closed before all that came was read, it is reset, and what was on its way is
/// lost. With this one it is open until it is shut down, behind all that the worker has sent.
pub(crate) fn keep(theirs: &Stream) -> io::Result<Option<OwnedSocket>> {
    Ok(Some(theirs.try_clone()?.into()))
}

/// The call that accepts.
pub(crate) const ACCEPT: &str = "accept";

/// A connection, which does not block, and its other end's address.
pub(crate) fn accept(listener: BorrowedSocket<'_>) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    let _ = stays(&socket); // a connection that children inherit is better than none
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

/// As a child's standard stream: another handle. (This one is closed as a socket, for the library
/// remembers what it has made until then.)
pub(crate) fn to_child(end: Stream) -> io::Result<OwnedHandle> {
    let handle = std::ptr::with_exposed_provenance_mut(end.as_raw_socket() as usize);
    // SAFETY: Y77: `end` is open until the end of this function.
    unsafe { BorrowedHandle::borrow_raw(handle) }.try_clone_to_owned()
}

/// Of datagrams.
pub(crate) use super::udp::UdpSocket;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::os::windows::io::AsSocket;

    use windows_sys::Win32::Foundation::{GetHandleInformation, HANDLE_FLAG_INHERIT};

    use super::*;

    #[test]
    fn no_child_inherits_what_is_accepted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _near = Stream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = accept(listener.as_socket()).unwrap();
        let handle = std::ptr::with_exposed_provenance_mut(far.as_raw_socket() as usize);
        let mut flags = HANDLE_FLAG_INHERIT;
        // SAFETY: Y77: it is open, and the flags are in this frame.
        assert_ne!(unsafe { GetHandleInformation(handle, &raw mut flags) }, 0);
        assert_eq!(flags & HANDLE_FLAG_INHERIT, 0);
    }

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
