//! A TCP socket that accepts connections.
//!
//! How many connections wait, and what `accept` does without descriptors: `io/listener.rs`.
//!
//! Tests: `tests/io/sockets.rs::{a_thousand_echo_connections_half_of_them_reset,
//! many_acceptors_and_readers_none_forgotten, no_descriptor_left_is_an_error_and_not_a_spin}`.

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use super::listener::{accept, listen};
use super::lookup::{ToSocketAddrs, first, lookup_host};
use super::source::{IoSource, fairly, socket};
use super::tcp_stream::TcpStream;
use crate::sys::sockets;

/// A TCP socket that accepts connections.
///
/// ```
/// use trefoil::io::{TcpListener, TcpStream};
///
/// trefoil::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     assert_eq!(server.peer_addr()?, peer);
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    source: IoSource<Socket>,
}

impl TcpListener {
    /// Binds to the first of `address`'s addresses that can be bound, and listens.
    /// Port 0 lets the system choose. The address may be in use by connections
    /// of an earlier listener that are closing.
    ///
    /// # Errors
    ///
    /// The error of the last address, if none could be bound; those of
    /// [`lookup_host`](super::lookup_host()).
    ///
    /// ```
    /// use trefoil::io::TcpListener;
    ///
    /// let listener = trefoil::run(TcpListener::bind("127.0.0.1:0"))?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        fairly().await?;
        let addresses = lookup_host(address).await?;
        let source = first(addresses, |address| listen(Socket::bind(address)?))?;
        Ok(Self { source })
    }

    /// Accepts the next connection; returns it and the peer's address.
    ///
    /// Several tasks may accept from one listener.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, no descriptor is left, or the call is refused. The
    /// connection then waits in the queue, and the listener goes on: a server continues to accept.
    /// Such an error comes after a tenth of a second, so that a server does not spin. (One that was
    /// shut down fails at once with `InvalidInput`.)
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    ///
    /// ```no_run
    /// # async fn serve(listener: trefoil::io::TcpListener) {
    /// loop {
    ///     // (An error has taken a tenth of a second, and the next call may succeed.)
    ///     let Ok((stream, _peer)) = listener.accept().await else { continue };
    ///     trefoil::spawn(async move { stream.write_all(b"hello\n").await }).detach();
    /// }
    /// # }
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = accept(&self.source, accept_one).await?;
        Ok((TcpStream::from_nonblocking(stream), peer.try_into()?))
    }

    /// The address on which it listens.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// # use trefoil::io::TcpListener;
    /// let listener = trefoil::run(TcpListener::bind("127.0.0.1:0"))?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }
}

fn accept_one(listener: &Socket) -> io::Result<(OwnedFd, SocketAddrAny)> {
    let (stream, peer) = sockets::accept(listener.as_fd())?;
    // Without an address it was abandoned.
    Ok((stream, peer.ok_or(Errno::CONNABORTED)?))
}

socket! { TcpListener, Socket }
