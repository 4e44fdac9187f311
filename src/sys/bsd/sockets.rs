//! Sockets that never block, as far as these systems can make them so.
//!
//! Where a new socket cannot be made non-inheritable in the same call, a program that another
//! thread starts at that moment inherits it. `std` has no better way here either.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::event::PollFlags;
use rustix::io::Result;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType};

/// The flags of a write that neither waits nor raises `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// The flags of a write that does not wait. (An option that is set when the socket is made prevents
/// `SIGPIPE`.)
#[cfg(target_vendor = "apple")]
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT;

/// The flags of a write that raises no `SIGPIPE`.
#[cfg(target_os = "freebsd")]
pub(crate) const QUIET: SendFlags = SendFlags::NOSIGNAL;

/// The flags of a write that raises no `SIGPIPE`: none, because a socket option prevents it.
#[cfg(target_vendor = "apple")]
pub(crate) const QUIET: SendFlags = SendFlags::empty();

/// The flags of a read that does not wait.
pub(crate) const RECEIVE: RecvFlags = RecvFlags::DONTWAIT;

/// A second handle of a worker's end, so that the worker's death does not reset the connection.
/// None needed: what a dead process wrote to a Unix socket can still be read.
pub(crate) fn keep(_theirs: &Stream) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// One end of a stream.
pub(crate) use std::os::unix::net::UnixStream as Stream;

/// The event that the other end will send no more: `poll` has none here. (If that end is closed,
/// `HUP` is reported in any case.)
pub(crate) const ENDS: PollFlags = PollFlags::empty();

/// The socket as a standard stream of a child.
pub(crate) fn to_child(end: Stream) -> OwnedFd {
    end.into()
}

/// A pair of stream sockets, the first of which never blocks: not every call here has a flag for
/// that.
pub(crate) fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    pair.0.set_nonblocking(true)?;
    #[cfg(target_vendor = "apple")]
    for end in [&pair.0, &pair.1] {
        rustix::net::sockopt::set_socket_nosigpipe(end, true)?;
    }
    Ok(pair)
}

/// Prepares a TCP connection to another machine for frames: small ones are sent at once, and a
/// machine that is cut off is noticed after some time.
#[cfg(feature = "slurm")]
pub(crate) fn far(socket: &std::net::TcpStream, _is_silent: bool) -> Result<()> {
    rustix::net::sockopt::set_tcp_nodelay(socket, true)?;
    rustix::net::sockopt::set_socket_keepalive(socket, true)
}

/// Whether a short read means that the next one would block. Not of a TCP connection: the read may
/// have stopped at urgent data, and no event would report the bytes behind it.
pub(crate) const SHORT_READS_DRAIN: bool = false;

/// The name of the system call that accepts a connection.
pub(crate) const ACCEPT: &str = "accept";

/// A new connection, which does not block, and the address of its other end.
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

/// The address in the system's form. `None`: the socket has no name.
pub(crate) fn unix_name(address: &SocketAddr) -> io::Result<Option<SocketAddrUnix>> {
    let path = address.as_pathname();
    Ok(path.map(SocketAddrUnix::new).transpose()?)
}
