//! Sockets that never block, as far as these systems can make them so.
//!
//! FreeBSD makes them so in one step. On macOS, a program that another thread starts between the
//! two steps inherits the socket; `std` has no better way there either.
//!
//! Tests: `tests/io/sockets.rs`, `tests/io/unix.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::event::PollFlags;
use rustix::io::{Errno, Result};
#[cfg(target_os = "freebsd")]
use rustix::net::SocketFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType};

/// The flags of a write that neither waits nor raises `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// The flags of a write that does not wait. (An option that is set when the socket is made prevents
/// `SIGPIPE`.)
#[cfg(target_vendor = "apple")]
pub const SEND: SendFlags = SendFlags::DONTWAIT;

/// The flags of a write that raises no `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub const QUIET: SendFlags = SendFlags::NOSIGNAL;

/// The flags of a write that raises no `SIGPIPE`: none, because a socket option prevents it.
#[cfg(target_vendor = "apple")]
pub const QUIET: SendFlags = SendFlags::empty();

/// The flags of a read that does not wait.
pub const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// A second handle of a worker's end, so that the worker's death does not reset the connection.
/// None needed: what a dead process wrote to a Unix socket can still be read.
pub fn keep(_theirs: &Stream) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// One end of a stream.
pub use std::os::unix::net::UnixStream as Stream;

/// The event that the other end will send no more: `poll` has none here. (If that end is closed,
/// `HUP` is reported in any case.)
pub const ENDS: PollFlags = PollFlags::empty();

/// The socket as a standard stream of a child.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
pub fn to_child(end: Stream) -> io::Result<OwnedFd> {
    Ok(end.into())
}

/// A socket of datagrams.
pub use std::net::UdpSocket;

/// A pair of stream sockets, the first of which never blocks: not every call here has a flag for
/// that.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    pair.0.set_nonblocking(true)?;
    for end in [&pair.0, &pair.1] {
        quiet(end);
    }
    Ok(pair)
}

/// Whether a short read means that the next one would block. Not on a TCP connection: the read may
/// have stopped at urgent data, and no event would report the bytes behind it.
pub const SHORT_READS_DRAIN: bool = false;

/// A write to this socket raises no `SIGPIPE`. On macOS that is a setting of the socket, which is
/// refused once both directions are shut. (A connection has it from a listener of `std`'s anyway.)
pub fn quiet(_socket: impl AsFd) {
    #[cfg(target_vendor = "apple")]
    let _ = rustix::net::sockopt::set_socket_nosigpipe(_socket, true);
}

/// The call that accepts.
#[cfg(target_os = "freebsd")]
pub const ACCEPT: &str = "accept4";
/// The call that accepts.
#[cfg(target_vendor = "apple")]
pub const ACCEPT: &str = "accept";

/// A connection, which does not block, and its other end's address. `None`: it has no name, or is
/// gone already (macOS).
#[cfg(target_os = "freebsd")]
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    rustix::net::acceptfrom_with(listener, FLAGS)
}

/// A connection, which does not block, and its other end's address, on macOS.
#[cfg(target_vendor = "apple")]
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    set_up(&socket)?;
    Ok((socket, peer))
}

/// A new stream socket of this family, which does not block.
#[cfg(target_os = "freebsd")]
pub fn stream(family: AddressFamily) -> Result<OwnedFd> {
    rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None)
}

/// What a socket that does not block says when it has begun to connect.
pub const CONNECTS: Errno = Errno::INPROGRESS;

/// A new stream socket of this family, which does not block.
#[cfg(target_vendor = "apple")]
pub fn stream(family: AddressFamily) -> Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    set_up(&socket)?;
    Ok(socket)
}

#[cfg(target_os = "freebsd")]
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

#[cfg(target_vendor = "apple")]
fn set_up(socket: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    quiet(socket);
    rustix::io::ioctl_fionbio(socket, true)
}

/// The address in the system's form. `None`: the socket has no name.
pub fn unix_name(address: &SocketAddr) -> io::Result<Option<SocketAddrUnix>> {
    let path = address.as_pathname();
    Ok(path.map(SocketAddrUnix::new).transpose()?)
}
