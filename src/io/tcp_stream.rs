//! A TCP connection.
//!
//! The methods that move bytes are those of every stream (see `bytes`). Connecting to one
//! address is here, the choice between several in `connect`.
//!
//! Checked by `tests/io/`.

use std::io;
use std::net::{SocketAddr, TcpStream as Socket};
use std::time::Duration;

use rustix::net::sockopt;

use super::bytes::{Bytes, Stream};
use super::connect::first_to_answer;
use super::lookup::ToSocketAddrs;
use super::source::{Source, fairly};
use super::stream::stream;
use crate::sys::sockets::SHORT_READS_DRAIN;

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. For code
/// written against the futures-io traits, both `TcpStream` and `&TcpStream` implement
/// `AsyncRead` and `AsyncWrite`.
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
    source: Source<Socket>,
}

impl TcpStream {
    /// Connects to the first of `address`'s addresses that answers.
    ///
    /// A name is looked up off the loop; numbers need no thread. Several addresses are tried
    /// as RFC 8305 ("Happy Eyeballs") says: the next one joins in as soon as one has failed, or
    /// when there is no answer after 250 ms, and the first that answers wins. What a
    /// name stands for is tried in the system's order, IPv6 and IPv4 taking turns; a list of
    /// addresses in its own. One that never answers is waited for until the system gives
    /// up: put [`timeout`](crate::timeout) around it to give up earlier.
    ///
    /// # Errors
    ///
    /// That of the last address to fail, if none answers; those of
    /// [`lookup_host`](super::lookup_host()).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was begun.
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
        fairly().await;
        let stream = Self::from_nonblocking(mio::net::TcpStream::connect(address)?.into());
        stream
            .source
            .writing(|socket| match socket.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    // It has failed, or it goes on.
                    let failed = socket.take_error()?;
                    Err(failed.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
                }
                Err(error) => Err(error),
            })
            .await?;
        Ok(stream)
    }

    /// Like [`read`](Self::read), but leaves the bytes where they are.
    ///
    /// # Errors
    ///
    /// As `read`.
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

    /// Whether small writes are sent at once (`true`) or gathered (`false`, as
    /// the system begins).
    ///
    /// # Errors
    ///
    /// The system's.
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

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// The system's.
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

    /// How many routers a packet may pass.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_ttl(7)?;
    /// assert_eq!(stream.ttl()?, 7);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.source.get_ref().set_ttl(ttl)
    }

    /// See [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.ttl()? > 0);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.source.get_ref().ttl()
    }

    /// Dropping the stream resets the connection, from now on: what the peer has not received is
    /// lost, and its reads fail. (A `SO_LINGER` of some length would block the loop when the
    /// stream is dropped; `rustix::net::sockopt` sets it.)
    ///
    /// # Errors
    ///
    /// The system's.
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

impl Bytes for Socket {
    const DRAINS: bool = SHORT_READS_DRAIN;
}

stream! { TcpStream, Socket, SocketAddr }
