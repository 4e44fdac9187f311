//! Sockets that never block, and streams to workers.
//!
//! - **Y77** A TCP socket is a handle of the system, which can be duplicated and closed as one; it
//!   has one owner.
//!
//! Tests: its own test, `tests/process/everywhere.rs`, under Wine.

#![allow(unsafe_code)]

use std::io;
use std::os::windows::io::{
    AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket, OwnedHandle, OwnedSocket,
};

use rustix::event::PollFlags;
use rustix::io::{Errno, Result, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny};

use super::pair::stays;

/// Whether a short read means that the next one would block. Not on a TCP connection: the read may
/// have stopped at urgent data, and no event would report the bytes behind it.
pub const SHORT_READS_DRAIN: bool = false;

/// A second handle of a worker's end, so that the worker's death does not reset the connection. If
/// the last handle is closed before all bytes that came were read, the connection is reset, and the
/// bytes that the worker has sent are lost. With this handle the connection is open until the
/// parent shuts it down, after it has read everything.
pub fn keep(theirs: &Stream) -> io::Result<Option<OwnedSocket>> {
    Ok(Some(theirs.try_clone()?.into()))
}

/// A write to this socket raises no signal: there is none.
pub fn quiet(_socket: impl AsSocket) {}

/// The name of the system call that accepts a connection.
pub const ACCEPT: &str = "accept";

/// A new connection, which does not block, and the address of its other end. `CONNABORTED`, as on
/// the other systems: the client closed the connection while it waited. (Windows says that it was
/// reset, Wine that it is not connected.)
pub fn accept(listener: BorrowedSocket<'_>) -> Result<(OwnedSocket, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener).map_err(|error| match error {
        Errno::CONNRESET | Errno::NOTCONN => Errno::CONNABORTED,
        other => other,
    })?;
    let _ = stays(&socket); // a connection that children inherit is better than none
    ioctl_fionbio(&socket, true)?;
    Ok((socket, peer))
}

/// The flags of a write that neither waits nor raises a signal: none, because our end of a stream
/// never blocks.
pub const SEND: SendFlags = SendFlags::empty();

/// The flags of a write that raises no signal: none are needed.
pub const QUIET: SendFlags = SendFlags::empty();

/// The flags of a read that does not wait: none, because our end never blocks.
pub const RECEIVE: RecvFlags = RecvFlags::empty();

/// The event that the other end will send no more: `poll` has none here.
pub const ENDS: PollFlags = PollFlags::empty();

/// One end of a stream.
pub use std::net::TcpStream as Stream;

/// The two ends of a stream, the first of which never blocks.
pub fn pair() -> io::Result<(Stream, Stream)> {
    let (ours, theirs) = super::pair::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// The socket as a standard stream of a child: a second handle. (The first is closed as a socket,
/// because the library keeps what it has made for it until then.)
pub fn to_child(end: Stream) -> io::Result<OwnedHandle> {
    let handle = std::ptr::with_exposed_provenance_mut(end.as_raw_socket() as usize);
    // SAFETY: Y77: `end` is open until the end of this function.
    unsafe { BorrowedHandle::borrow_raw(handle) }.try_clone_to_owned()
}

/// Of datagrams.
pub use super::udp::UdpSocket;

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
