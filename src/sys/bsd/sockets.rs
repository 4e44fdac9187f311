//! Sockets that do not block from the beginning, as far as these systems have them.
//!
//! Where a new socket cannot be made so in one step, a program that starts another one at that
//! moment hands it on; `std` has no better way here either.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::event::PollFlags;
use rustix::io::Result;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType};

/// It neither waits nor raises `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// It does not wait. (That it raises no `SIGPIPE` was set when the socket was made.)
#[cfg(target_vendor = "apple")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;

/// It raises no `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub(crate) const QUIET: SendFlags = SendFlags::NOSIGNAL;

/// It raises no `SIGPIPE`: that was set when the socket was made.
#[cfg(target_vendor = "apple")]
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// It does not wait.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// Another handle of a worker's end, so that its death resets nothing: none, for what a process has
/// written to a Unix socket can be read anyway.
pub(crate) fn keep(_theirs: &Stream) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// One end of a stream.
pub(crate) use std::os::unix::net::UnixStream as Stream;

/// The event that the other end says no more: none. (When that end is closed, `HUP` comes in any
/// case.)
pub(crate) const ENDS: PollFlags = PollFlags::empty();

/// As a child's standard stream.
#[allow(clippy::unnecessary_wraps)] // elsewhere it may be refused
pub(crate) fn to_child(end: Stream) -> io::Result<OwnedFd> {
    Ok(end.into())
}

/// Of datagrams.
pub(crate) use std::net::UdpSocket;

/// A pair of stream sockets, whose first never blocks: not every call here can ask for that itself.
pub(crate) fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    pair.0.set_nonblocking(true)?;
    #[cfg(target_vendor = "apple")]
    for end in [&pair.0, &pair.1] {
        rustix::net::sockopt::set_socket_nosigpipe(end, true)?;
    }
    Ok(pair)
}

/// Makes a TCP connection to another machine ready for frames: small ones go at once, and a machine
/// that is cut off is noticed some time.
#[cfg(feature = "slurm")]
pub(crate) fn far(socket: &std::net::TcpStream, _is_silent: bool) -> Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(socket, true)?;
    rustix::net::sockopt::set_socket_keepalive(socket, true)
}

/// A short read of a TCP connection may have stopped at a mark of urgent data, and no event would
/// tell of what comes behind.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// The call that accepts.
pub(crate) const ACCEPT: &str = "accept";

/// A connection, which does not block, and its other end's address.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (socket, peer) = rustix::net::acceptfrom(listener)?;
    set_up(&socket)?;
    Ok((socket, peer))
}

/// A new Unix stream socket, which does not block.
pub(crate) fn unix_stream() -> Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    set_up(&socket)?;
    Ok(socket)
}

fn set_up(socket: &OwnedFd) -> Result<()> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(socket, true)?;
    rustix::io::ioctl_fionbio(socket, true)
}

/// The address in the system's form. `None`: it has no name.
pub(crate) fn unix_name(address: &SocketAddr) -> io::Result<Option<SocketAddrUnix>> {
    let path = address.as_pathname();
    Ok(path.map(SocketAddrUnix::new).transpose()?)
}
