//! A Unix socket that takes connections.
//!
//! The socket's file is the user's: binding makes it, nothing here removes it. Accepting backs
//! off as TCP does (see `accept`).
//!
//! Checked by `tests/io/`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixListener as Socket};
use std::path::Path;

use super::accept::{accept, listen};
use super::source::{Source, fairly, socket};
use super::unix_stream::UnixStream;
use crate::sys::sockets;

/// A Unix socket that takes connections.
///
/// ```
/// use trefoil::io::{UnixListener, UnixStream};
///
/// # let path = std::env::temp_dir().join(format!("trefoil-doc-listener-{}", std::process::id()));
/// trefoil::run(async {
///     let listener = UnixListener::bind(&path).await?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut question = [0; 4];
///     server.read_exact(&mut question).await?;
///     assert_eq!(&question, b"ping");
///     std::fs::remove_file(&path)
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    source: Source<Socket>,
}

impl UnixListener {
    /// Makes a socket file at `path` and listens there. The file stays when the listener goes:
    /// remove it.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a file of this name, whether or not a socket listens there; the
    /// system's (a path has at most 107 bytes).
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::UnixListener;
    ///
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-bind-{}", std::process::id()));
    /// trefoil::run(async {
    ///     drop(UnixListener::bind(&path).await?);
    ///     let again = UnixListener::bind(&path).await;
    ///     assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    ///     std::fs::remove_file(&path)
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn bind<P: AsRef<Path>>(path: P) -> io::Result<Self> {
        Self::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// Like [`bind`](Self::bind), for every kind of address: a name in the abstract namespace
    /// has no file.
    ///
    /// # Errors
    ///
    /// As `bind`.
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use trefoil::io::{UnixListener, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let name = format!("trefoil-doc-{}", std::process::id());
    ///     let address = SocketAddr::from_abstract_name(name)?;
    ///     let listener = UnixListener::bind_addr(&address).await?;
    ///     UnixStream::connect_addr(&address).await?;
    ///     listener.accept().await?;
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        fairly().await;
        let source = listen(Socket::bind_addr(address)?)?;
        Ok(Self { source })
    }

    /// Takes the next connection. The peer's address is unnamed, unless the peer has bound its
    /// socket.
    ///
    /// Several tasks may accept from one listener.
    ///
    /// # Errors
    ///
    /// The system's; above all, no descriptor is left. The connection then waits in
    /// the queue. That error takes its time, a tenth of a second each, so that a server which
    /// goes on regardless does not spin.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    ///
    /// ```no_run
    /// # async fn serve(listener: trefoil::io::UnixListener) -> std::io::Result<()> {
    /// loop {
    ///     let (stream, _) = listener.accept().await?;
    ///     trefoil::spawn(async move { stream.write_all(b"hello\n").await }).detach();
    /// }
    /// # }
    /// ```
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let accepted = accept(&self.source, |listener| {
            Ok(sockets::accept(listener.as_fd())?)
        });
        let stream = UnixStream::from_nonblocking(accepted.await?.0);
        let peer = stream.peer_addr()?;
        Ok((stream, peer))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # let path = std::env::temp_dir().join(format!("trefoil-doc-local-{}", std::process::id()));
    /// let listener = trefoil::run(trefoil::io::UnixListener::bind(&path))?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_path()));
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }
}

socket! { UnixListener, Socket, OwnedFd }
