//! A TCP connection.
//!
//! The methods that move bytes are those of every stream (see `byte_stream`). Connecting to one
//! address is here, the choice between several is in `connect`.
//!
//! Tests: `tests/io/transfer.rs::many_bytes_both_ways_at_once`,
//! `tests/io/dropped.rs::connections_are_made_or_not_made`.

use std::io;
use std::net::{SocketAddr, TcpStream as Socket};
use std::time::Duration;

use rustix::net::sockopt;

use super::byte_stream::{ByteDescriptor, ByteStream};
use super::connect::first_to_answer;
use super::lookup::ToSocketAddrs;
use super::source::{IoSource, fairly};
use super::stream_methods::stream;
use crate::sys::sockets::SHORT_READS_DRAIN;

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. For code written against the
/// futures-io traits, both `TcpStream` and `&TcpStream` implement `AsyncRead` and `AsyncWrite`.
/// Options that have no method here are set on the socket itself, with `rustix::net::sockopt` or
/// `socket2::SockRef::from(&stream)`.
///
/// ```
/// use trefoil::io::{TcpListener, TcpStream};
///
/// trefoil::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///
///     client.write_all(b"ping").await?;
///     let mut question = [0; 4];
///     server.read_exact(&mut question).await?;
///     assert_eq!(&question, b"ping");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    source: IoSource<Socket>,
}

impl TcpStream {
    /// Connects to the first of `address`'s addresses that answers.
    ///
    /// A name is looked up off the loop; numbers need no thread. Several addresses are tried as RFC
    /// 8305 ("Happy Eyeballs") describes: the next attempt starts as soon as one has failed, or
    /// when there is no answer after 250 ms, and the first address that answers wins. The addresses
    /// of a name are tried in the system's order, with IPv6 and IPv4 alternating; those of a list
    /// in the list's order. This waits for an address that never answers until the system gives up:
    /// to give up earlier, use [`timeout`](crate::timeout).
    ///
    /// # Errors
    ///
    /// The error of the last address that failed, if none answers; those of
    /// [`lookup_host`](super::lookup_host()).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connections that it has begun.
    ///
    /// ```
    /// use trefoil::io::{TcpListener, TcpStream};
    ///
    /// trefoil::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let address = listener.local_addr()?;
    ///     let stream = TcpStream::connect(address).await?;
    ///     assert_eq!(stream.peer_addr()?, address);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        first_to_answer(address, Self::connect_to).await
    }

    /// Connects to this one address.
    pub(super) async fn connect_to(address: SocketAddr) -> io::Result<Self> {
        fairly().await?;
        let socket = mio::net::TcpStream::connect(address)?;
        Self::from_nonblocking(socket.into()).connected().await
    }

    /// Waits for the end of the attempt to connect.
    pub(super) async fn connected(self) -> io::Result<Self> {
        self.source
            .writing(|socket| match socket.peer_addr() {
                Ok(_) => Ok(()),
                // The attempt has failed, or continues. (macOS reports `InvalidInput` for a
                // failed one.)
                Err(error) => Err(match (socket.take_error()?, error.kind()) {
                    (Some(failed), _) => failed,
                    (None, io::ErrorKind::NotConnected) => io::ErrorKind::WouldBlock.into(),
                    (None, _) => error,
                }),
            })
            .await?;
        Ok(self)
    }

    /// Reads, as [`read`](Self::read) does, but leaves the bytes in the stream. So it does not wait
    /// for more bytes than have come: code that needs more reads them.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"abc").await?;
    /// let mut buffer = [0; 1];
    /// stream.peek(&mut buffer).await?;
    /// stream.peek(&mut buffer).await?;
    /// assert_eq!(&buffer, b"a");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return self.source.nothing();
        }
        self.source.reading(|socket| socket.peek(buffer)).await
    }

    /// Sets whether small writes are sent at once (`true`) or collected (`false`, the system's
    /// default).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get_ref().set_nodelay(nodelay)
    }

    /// Whether small packets are sent at once: see [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(!stream.nodelay()?);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get_ref().nodelay()
    }

    /// Makes dropping the stream reset the connection, from now on: the peer loses what has not
    /// arrived there, and then its next read fails. (A longer `SO_LINGER` would block the loop when
    /// the stream is dropped; `rustix::net::sockopt` sets it.)
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::{TcpListener, TcpStream};
    ///
    /// trefoil::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (server, _) = listener.accept().await?;
    ///     client.set_zero_linger()?;
    ///     drop(client);
    ///     let error = server.read(&mut [0; 8]).await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_zero_linger(&self) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(self, Some(Duration::ZERO))?)
    }
}

impl ByteDescriptor for Socket {
    const DRAINS: bool = SHORT_READS_DRAIN;
}

stream! { TcpStream, Socket, SocketAddr }
