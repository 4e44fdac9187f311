//! Sockets that do not block, from the beginning if the system can make them so.
//!
//! Linux and FreeBSD make them so in one step. On macOS, a program that another thread starts
//! between the two steps inherits the socket; `std` has no better way there either.
//!
//! Tests: `tests/io/sockets.rs`, `tests/io/unix.rs`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::event::PollFlags;
use rustix::io::Result;
#[cfg(not(target_vendor = "apple"))]
use rustix::net::SocketFlags;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType};

/// The flags of a write that raises no `SIGPIPE`.
#[cfg(not(target_vendor = "apple"))]
pub const QUIET: SendFlags = SendFlags::NOSIGNAL;

/// The flags of a write that raises no `SIGPIPE`: none, because a socket option prevents it.
#[cfg(target_vendor = "apple")]
pub const QUIET: SendFlags = SendFlags::empty();

/// The flags of a write that neither waits nor raises `SIGPIPE`.
pub const SEND: SendFlags = SendFlags::DONTWAIT.union(QUIET);

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
#[cfg(target_os = "linux")]
pub const ENDS: PollFlags = PollFlags::RDHUP;

/// The event that the other end will send no more: `poll` has none here. (If that end is closed,
/// `HUP` is reported in any case.)
#[cfg(not(target_os = "linux"))]
pub const ENDS: PollFlags = PollFlags::empty();

/// The socket as a standard stream of a child.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
pub fn to_child(end: Stream) -> io::Result<OwnedFd> {
    Ok(end.into())
}

/// Of datagrams.
pub use std::net::UdpSocket;

/// A pair of stream sockets, the first of which never blocks, because on Linux each call on it asks
/// not to wait. Elsewhere not every call has a flag for that.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    if cfg!(not(target_os = "linux")) {
        pair.0.set_nonblocking(true)?;
    }
    quiet(&pair.0);
    quiet(&pair.1);
    Ok(pair)
}

/// Whether a short read means that the next one would block. On Linux it does, even on a TCP
/// connection: if the read stopped at urgent data, the kernel has reported that. Elsewhere no event
/// would report the bytes behind such data.
pub const SHORT_READS_DRAIN: bool = cfg!(target_os = "linux");

/// A write to this socket raises no `SIGPIPE`: [`SEND`] says so in each call. On macOS that is a
/// setting of the socket, which is refused once both directions are shut. (A connection has it from
/// a listener of `std`'s anyway.)
#[inline]
pub fn quiet(_socket: impl AsFd) {
    #[cfg(target_vendor = "apple")]
    let _ = rustix::net::sockopt::set_socket_nosigpipe(_socket, true);
}

/// The name of the system call that accepts a connection.
pub const ACCEPT: &str = if cfg!(target_vendor = "apple") {
    "accept"
} else {
    "accept4"
};

/// A new connection, which does not block, and the address of its other end. `None`: it has no
/// name, or is gone already (macOS).
pub fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    #[cfg(not(target_vendor = "apple"))]
    return rustix::net::acceptfrom_with(listener, FLAGS);
    #[cfg(target_vendor = "apple")]
    {
        let (socket, peer) = rustix::net::acceptfrom(listener)?;
        Ok((set_up(socket)?, peer))
    }
}

/// A new stream socket of this family, which does not block.
pub fn stream(family: AddressFamily) -> Result<OwnedFd> {
    #[cfg(not(target_vendor = "apple"))]
    return rustix::net::socket_with(family, SocketType::STREAM, FLAGS, None);
    #[cfg(target_vendor = "apple")]
    set_up(rustix::net::socket(family, SocketType::STREAM, None)?)
}

#[cfg(not(target_vendor = "apple"))]
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

#[cfg(target_vendor = "apple")]
fn set_up(socket: OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    quiet(&socket);
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The address in the system's form. `None`: the socket has no name.
pub fn unix_name(address: &SocketAddr) -> io::Result<Option<SocketAddrUnix>> {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        return Ok(Some(SocketAddrUnix::new_abstract_name(name)?));
    }
    let path = address.as_pathname();
    Ok(path.map(SocketAddrUnix::new).transpose()?)
}
