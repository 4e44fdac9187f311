//! A Unix datagram socket: reliable, in order, between processes of one machine.
//!
//! Sending to a socket that is not this one's peer may find a full queue, for which the kernel has
//! no event; see `retry_without_event`. Everything else is as with UDP: one system call for one
//! datagram, and no count is a hint.
//!
//! Tests: `tests/io/datagrams.rs::{a_full_queue_of_unix_datagrams_is_waited_for,
//! a_datagram_to_a_peer_that_is_gone_is_an_error}`.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{SocketAddr, UnixDatagram as Socket};
use std::path::Path;

use super::datagrams::datagrams;
use super::readiness::{readable, writable};
use super::retry_without_event::with_backoff;
use super::source::{IoSource, fairly, socket};

/// A Unix datagram socket.
///
/// All methods take `&self`: one task may send while another receives.
///
/// ```
/// use trefoil::io::UnixDatagram;
///
/// trefoil::run(async {
///     let (near, far) = UnixDatagram::pair()?;
///     near.send(b"one").await?;
///     near.send(b"").await?;
///     let mut buffer = [0; 16];
///     assert_eq!(far.recv(&mut buffer).await?, 3);
///     assert_eq!(far.recv(&mut buffer).await?, 0); // a datagram may be empty
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    source: IoSource<Socket>,
}

impl UnixDatagram {
    /// Makes a socket file at `path`, to receive there. Dropping the socket does not remove the
    /// file. (For a name in the abstract namespace, `try_from` takes a socket that std has bound.)
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a file of this name; other errors of the system.
    ///
    /// ```
    /// use trefoil::io::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-datagram-{}", std::process::id()));
    /// trefoil::run(async {
    ///     let server = UnixDatagram::bind(&path).await?;
    ///     UnixDatagram::unbound()?.send_to(b"abc", &path).await?;
    ///     assert_eq!(server.recv(&mut [0; 8]).await?, 3);
    ///     std::fs::remove_file(&path)
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        fairly().await?;
        Socket::bind(path)?.try_into()
    }

    /// A socket without a name. It can send; as a rule it receives nothing, because nobody can
    /// address it.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::UnixDatagram::unbound()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unbound() -> io::Result<Self> {
        Socket::unbound()?.try_into()
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let (near, far) = trefoil::io::UnixDatagram::pair()?;
    /// # drop((near, far));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (near, far) = Socket::pair()?;
        Ok((near.try_into()?, far.try_into()?))
    }

    /// Sets the one peer that [`send`](Self::send) sends to, and from which alone datagrams are
    /// accepted from then on (those that had arrived before are still received).
    ///
    /// # Errors
    ///
    /// `NotFound` or `ConnectionRefused` if there is no such socket.
    ///
    /// ```
    /// use trefoil::io::UnixDatagram;
    ///
    /// let socket = UnixDatagram::unbound()?;
    /// assert!(trefoil::run(socket.connect("there/is/no/such/socket")).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        fairly().await?;
        self.source.get_ref().connect(path)
    }

    /// Sends one datagram to the socket at `path`; waits while its queue is full.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, that there is no such socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends nothing.
    ///
    /// ```
    /// # use trefoil::io::UnixDatagram;
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-send-to-{}", std::process::id()));
    /// # trefoil::run(async {
    /// let server = UnixDatagram::bind(&path).await?;
    /// assert_eq!(UnixDatagram::unbound()?.send_to(b"abc", &path).await?, 3);
    /// # std::fs::remove_file(&path)
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn send_to<P: AsRef<Path>>(&self, bytes: &[u8], path: P) -> io::Result<usize> {
        self.send_to_addr(bytes, &SocketAddr::from_pathname(&path)?)
            .await
    }

    /// Sends to every kind of address.
    ///
    /// # Errors
    ///
    /// Those of `send_to`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends nothing.
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let nobody = SocketAddr::from_abstract_name("nobody receives here")?;
    /// let socket = trefoil::io::UnixDatagram::unbound()?;
    /// assert!(trefoil::run(socket.send_to_addr(b"abc", &nobody)).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn send_to_addr(&self, bytes: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.source.nothing()?;
        let socket = self.source.get_ref();
        with_backoff(|| socket.send_to_addr(bytes, address)).await
    }

    /// Sends one datagram to the socket at `path`, and does not wait for room. It needs no loop.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if that socket's queue is full. (The kernel does not report when it has room;
    /// [`send_to`](Self::send_to) tries repeatedly.) Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::UnixDatagram::unbound()?;
    /// assert!(socket.try_send_to(b"abc", "there/is/no/such/socket").is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send_to<P: AsRef<Path>>(&self, bytes: &[u8], path: P) -> io::Result<usize> {
        self.source.get_ref().send_to(bytes, path)
    }

    /// Closes one direction, or both. Does not block.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixDatagram::pair()?;
    /// near.shutdown(std::net::Shutdown::Write)?;
    /// assert!(trefoil::run(near.send(b"too late")).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    fn source(&self) -> &IoSource<Socket> {
        &self.source
    }
}

socket! { UnixDatagram, Socket }

datagrams! { UnixDatagram, SocketAddr }

readable! { UnixDatagram }

writable! { UnixDatagram }
