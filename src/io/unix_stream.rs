//! A Unix connection.
//!
//! The methods that move bytes are those of every stream (see `byte_stream`). A short read says
//! nothing about the next one: the kernel also stops at a message that carries descriptors.
//!
//! Tests: `tests/io/unix.rs::{a_read_that_stops_at_a_message_with_descriptors_is_not_the_last,
//! a_full_queue_is_waited_for_and_a_given_up_wait_leaves_nothing}`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{SocketAddr, UnixStream as Socket};
use std::path::Path;

use rustix::net::{AddressFamily, connect};

use super::byte_stream::{ByteDescriptor, ByteStream};
use super::retry_without_event::with_backoff;
use super::source::IoSource;
use super::stream_methods::stream;
use crate::sys::peer::peer;
use crate::sys::sockets;

/// A Unix connection.
///
/// All methods take `&self`: one task may read while another writes. For code
/// written against the futures-io traits, both `UnixStream` and `&UnixStream` implement
/// `AsyncRead` and `AsyncWrite`.
///
/// ```
/// use trefoil::io::UnixStream;
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     near.write_all(b"ping").await?;
///     let mut question = [0; 4];
///     far.read_exact(&mut question).await?;
///     assert_eq!(&question, b"ping");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixStream {
    source: IoSource<Socket>,
}

/// The process that made the other end of a [`UnixStream`], by `connect`, `listen` or as a pair.
///
/// ```
/// trefoil::run(async {
///     let (near, _far) = trefoil::io::UnixStream::pair()?;
///     let peer = near.peer_cred()?; // here, this process
///     println!("process {} of user {}", peer.pid, peer.uid);
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process id; 0 if this process cannot see that one.
    pub pid: u32,
    /// The process's user.
    pub uid: u32,
    /// The process's group.
    pub gid: u32,
}

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file; `ConnectionRefused` if no socket listens there. This
    /// waits for a listener whose queue is full: to give up earlier, use
    /// [`timeout`](crate::timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection that it has begun.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::UnixStream;
    ///
    /// let nowhere = trefoil::run(UnixStream::connect("there/is/no/such/socket"));
    /// assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
    /// ```
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::connect_addr(&SocketAddr::from_pathname(&path)?).await
    }

    /// Connects to every kind of address.
    ///
    /// # Errors
    ///
    /// Those of `connect`; `InvalidInput` for an address without a name.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use trefoil::io::UnixStream;
    ///
    /// let address = SocketAddr::from_abstract_name("nobody listens here")?;
    /// let error = trefoil::run(UnixStream::connect_addr(&address)).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        Ok(Self::from_nonblocking(connect_unix(address).await?))
    }

    /// Two sockets that are connected to each other. This is not `async`, because there is nothing
    /// to wait for, and needs no loop yet.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, no descriptor is left.
    ///
    /// ```
    /// let (near, far) = trefoil::io::UnixStream::pair()?;
    /// assert!(near.peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (near, far) = mio::net::UnixStream::pair()?;
        sockets::quiet(&near);
        sockets::quiet(&far);
        let streams = [near, far].map(|end| Self::from_nonblocking(end.into()));
        Ok(streams.into())
    }

    /// The process that made the other end.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// assert_eq!(near.peer_cred()?.pid, std::process::id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_cred(&self) -> io::Result<PeerCredentials> {
        let peer = peer(self)?;
        Ok(PeerCredentials {
            pid: peer.pid.cast_unsigned(),
            uid: peer.uid,
            gid: peer.gid,
        })
    }
}

/// Connects a new Unix socket. (mio's own takes another address for an abstract name that begins
/// with a zero, and makes a new socket for each attempt.)
async fn connect_unix(address: &SocketAddr) -> io::Result<OwnedFd> {
    let Some(target) = sockets::unix_name(address)? else {
        let message = "cannot connect to a Unix socket without a name";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let socket = sockets::stream(AddressFamily::UNIX)?;
    with_backoff(|| Ok(connect(&socket, &target)?)).await?;
    Ok(socket)
}

impl ByteDescriptor for Socket {}

stream! { UnixStream, Socket, SocketAddr }
