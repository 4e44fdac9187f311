//! A UDP socket.
//!
//! Each method is one system call for one datagram; the source does the waiting. No count says
//! whether the next call would block, so none is used as a hint.
//!
//! An error that belongs to an earlier datagram (no socket listens there: `ConnectionRefused`) is
//! reported by the system once, by the next call of any kind. It is returned unchanged.
//!
//! Tests: `tests/io/datagrams.rs::{datagrams_keep_their_lengths_and_lose_what_does_not_fit,
//! a_refusal_comes_with_the_next_call_and_once}`.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};

use super::datagrams::datagrams;
use super::lookup::{ToSocketAddrs, first, lookup_host, no_address};
use super::readiness::{readable, writable};
use super::source::{IoSource, fairly, socket};
use crate::sys::sockets::UdpSocket as Socket;

/// A UDP socket.
///
/// All methods take `&self`: one task may send while another receives. Options that have no method
/// here are set on the socket itself, with `rustix::net::sockopt` or
/// `socket2::SockRef::from(&socket)`.
///
/// ```
/// use trefoil::io::UdpSocket;
///
/// trefoil::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0").await?;
///     let client = UdpSocket::bind("127.0.0.1:0").await?;
///     client.send_to(b"ping", server.local_addr()?).await?;
///     let mut buffer = [0; 1500];
///     let (count, from) = server.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..count], from), (&b"ping"[..], client.local_addr()?));
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    source: IoSource<Socket>,
}

impl UdpSocket {
    /// Binds to the first of `address`'s addresses that can be bound. Port 0 lets the
    /// system choose.
    ///
    /// # Errors
    ///
    /// The error of the last address, if none could be bound; those of
    /// [`lookup_host`](super::lookup_host()).
    ///
    /// ```
    /// let socket = trefoil::run(trefoil::io::UdpSocket::bind("127.0.0.1:0"))?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        fairly().await?;
        first(lookup_host(address).await?, StdSocket::bind)?.try_into()
    }

    /// Sets the one peer that [`send`](Self::send) sends to, and from which alone datagrams are
    /// accepted from then on (those that had arrived before are still received): the first of
    /// `address`'s addresses that the system takes. This sends nothing, so the peer's socket need
    /// not exist.
    ///
    /// # Errors
    ///
    /// The error of the last address; those of [`lookup_host`](super::lookup_host()).
    ///
    /// ```
    /// use trefoil::io::UdpSocket;
    ///
    /// trefoil::run(async {
    ///     let server = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let client = UdpSocket::bind("127.0.0.1:0").await?;
    ///     client.connect(server.local_addr()?).await?;
    ///     assert_eq!(client.peer_addr()?, server.local_addr()?);
    ///     assert_eq!(client.send(b"abc").await?, 3);
    ///     assert_eq!(server.recv(&mut [0; 8]).await?, 3);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        fairly().await?;
        let addresses = lookup_host(address).await?;
        first(addresses, |address| self.source.get_ref().connect(address))
    }

    /// Sends one datagram to the first of `target`'s addresses that the system takes; returns the
    /// number of bytes, which is all of them.
    ///
    /// # Errors
    ///
    /// The error of the last address; most often, the datagram is too long; those of
    /// [`lookup_host`](super::lookup_host()). If no socket listens there, that is known later, or
    /// never.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future sends nothing.
    ///
    /// ```
    /// # use trefoil::io::UdpSocket;
    /// # trefoil::run(async {
    /// # let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.send_to(b"abc", server.local_addr()?).await?, 3);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn send_to<A: ToSocketAddrs>(&self, bytes: &[u8], target: A) -> io::Result<usize> {
        let mut refused = None;
        for address in lookup_host(target).await? {
            let send = |socket: &Socket| socket.send_to(bytes, address);
            match self.source.writing(send).await {
                Ok(count) => return Ok(count),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(no_address))
    }

    /// Receives as [`recv_from`](Self::recv_from) does, but leaves the datagram in the queue.
    ///
    /// # Errors
    ///
    /// Those of `recv_from`.
    ///
    /// ```
    /// # use trefoil::io::UdpSocket;
    /// # trefoil::run(async {
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// # socket.send_to(b"abc", socket.local_addr()?).await?;
    /// let (_, from) = socket.peek_from(&mut [0; 8]).await?;
    /// assert_eq!(socket.recv_from(&mut [0; 8]).await?, (3, from));
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.reading(|socket| socket.peek_from(buffer)).await
    }

    /// Receives as [`recv`](Self::recv) does, but leaves the datagram in the queue.
    ///
    /// # Errors
    ///
    /// Those of `recv`.
    ///
    /// ```
    /// # use trefoil::io::UdpSocket;
    /// # trefoil::run(async {
    /// # let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// # socket.send_to(b"abc", socket.local_addr()?).await?;
    /// assert_eq!(socket.peek(&mut [0; 8]).await?, 3);
    /// assert_eq!(socket.recv(&mut [0; 8]).await?, 3);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.reading(|socket| socket.peek(buffer)).await
    }

    /// Sends one datagram to `target`, and does not wait for room. It needs no loop.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room: [`writable`](Self::writable) waits for it. Errors of the
    /// system.
    ///
    /// ```
    /// let socket = trefoil::run(trefoil::io::UdpSocket::bind("127.0.0.1:0"))?;
    /// assert_eq!(socket.try_send_to(b"abc", socket.local_addr()?)?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_send_to(&self, bytes: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.source.get_ref().send_to(bytes, target)
    }

    fn source(&self) -> &IoSource<Socket> {
        &self.source
    }
}

socket! { UdpSocket, StdSocket }

datagrams! { UdpSocket, SocketAddr }

readable! { UdpSocket }

writable! { UdpSocket }
