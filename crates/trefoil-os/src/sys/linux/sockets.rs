//! Sockets that are non-blocking from the beginning, and what only Linux can do with sockets.
//!
//! Tests: `tests/io/sockets.rs`, `tests/io/unix.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::event::PollFlags;
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType,
    acceptfrom_with, socket_with,
};

/// The flags of a write that neither waits nor raises `SIGPIPE`.
pub const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// The flags of a write that raises no `SIGPIPE`.
pub const QUIET: SendFlags = SendFlags::NOSIGNAL;

/// The flags of a read that does not wait.
pub const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// A second handle of a worker's end, so that the worker's death does not reset the connection.
/// None needed: what a dead process wrote to a Unix socket can still be read.
pub fn keep(_theirs: &Stream) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// One end of a stream.
pub use std::os::unix::net::UnixStream as Stream;

/// The event that the other end will send no more.
pub const ENDS: PollFlags = PollFlags::RDHUP;

/// The socket as a standard stream of a child.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
pub fn to_child(end: Stream) -> io::Result<OwnedFd> {
    Ok(end.into())
}

/// Of datagrams.
pub use std::net::UdpSocket;

/// A pair of stream sockets. The first may be non-blocking, because each call on it asks not to
/// wait.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Whether a short read means that the next one would block. It does, even on a TCP connection: if
/// the read stopped at urgent data, the kernel has reported that.
pub const SHORT_READS_DRAIN: bool = true;

/// A write to this socket raises no `SIGPIPE`: [`SEND`] says so in each call.
#[inline]
pub fn quiet(_socket: impl AsFd) {}

/// The name of the system call that accepts a connection.
pub const ACCEPT: &str = "accept4";

/// A new connection, which does not block, and the address of its other end.
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// A new stream socket of this family, which is non-blocking.
pub fn stream(family: AddressFamily) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

/// What a socket that does not block says when it has begun to connect.
pub const CONNECTS: Errno = Errno::INPROGRESS;

/// The address in the system's form. `None`: the socket has no name.
pub fn unix_name(address: &SocketAddr) -> io::Result<Option<SocketAddrUnix>> {
    Ok(if let Some(path) = address.as_pathname() {
        Some(SocketAddrUnix::new(path)?)
    } else if let Some(name) = address.as_abstract_name() {
        Some(SocketAddrUnix::new_abstract_name(name)?)
    } else {
        None
    })
}
