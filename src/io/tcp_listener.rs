//! A TCP socket that takes connections.
//!
//! Checked by `tests/io/` (a thousand connections, several acceptors,
//! no descriptors left).

use std::io;
use std::net::{SocketAddr, TcpListener as Socket};

use rustix::fd::AsFd;
use rustix::io::Errno;

use super::accept::{accept, listen};
use super::lookup::{ToSocketAddrs, first, lookup_host};
use super::source::{Source, fairly, socket};
use super::tcp_stream::TcpStream;
use crate::sys::sockets;

/// A TCP socket that takes connections.
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
    source: Source<Socket>,
}

impl TcpListener {
    /// Binds to the first of `address`'s addresses that can be bound, and listens.
    /// Port 0 lets the system choose. The address may be in use by connections
    /// of an earlier listener that are closing.
    ///
    /// # Errors
    ///
    /// The last address's, if none could be bound; those of
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
        fairly().await;
        let addresses = lookup_host(address).await?;
        let source = first(addresses, |address| listen(Socket::bind(address)?))?;
        Ok(Self { source })
    }

    /// Takes the next connection, and says where it comes from.
    ///
    /// Several tasks may accept from one listener.
    ///
    /// # Errors
    ///
    /// The system's; above all, no descriptor is left, or the call is refused. The connection then
    /// waits in the queue. That error takes its time, a tenth of a second each, so that a
    /// server which goes on regardless does not spin. A connection that was given up while it
    /// waited is passed over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    ///
    /// ```no_run
    /// # async fn serve(listener: trefoil::io::TcpListener) -> std::io::Result<()> {
    /// loop {
    ///     let (stream, _peer) = listener.accept().await?;
    ///     trefoil::spawn(async move { stream.write_all(b"hello\n").await }).detach();
    /// }
    /// # }
    /// ```
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let accepted = accept(&self.source, |listener| {
            Ok(sockets::accept(listener.as_fd())?)
        });
        let (stream, peer) = accepted.await?;
        let peer = peer.ok_or(Errno::NOTCONN)?.try_into()?;
        Ok((TcpStream::from_nonblocking(stream), peer))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's.
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

socket! { TcpListener, Socket }
