//! A Unix socket that accepts connections.
//!
//! The socket's file belongs to the user: binding makes it, and no code here removes it. Accepting
//! backs off as for TCP (see `io/listener.rs`).
//!
//! Tests: `tests/io/unix.rs::{paths_that_exist_and_listeners_that_do_not,
//! a_client_that_is_gone_is_accepted}`.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixListener as Socket};
use std::path::Path;

use super::listener::{accept, listen};
use super::source::{IoSource, fairly, socket};
use super::unix_stream::UnixStream;
use crate::sys::sockets;

/// A Unix socket that accepts connections.
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
    source: IoSource<Socket>,
}

impl UnixListener {
    /// Makes a socket file at `path` and listens there. Dropping the listener does not remove the
    /// file. (For a name in the abstract namespace, `try_from` takes a listener that std has
    /// bound.)
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is a file of this name, whether or not a socket listens there; other
    /// errors of the system (on Linux a path has at most 107 bytes).
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
        fairly().await?;
        let source = listen(Socket::bind(path)?)?;
        Ok(Self { source })
    }

    /// Accepts the next connection. The peer's address is unnamed, unless the peer has bound its
    /// socket.
    ///
    /// Several tasks may accept from one listener.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, no descriptor is left. The connection then waits in the
    /// queue, and the listener goes on: a server continues to accept. Such an error comes after a
    /// tenth of a second, so that a server does not spin. (One that was shut down fails at once
    /// with `InvalidInput`.)
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    ///
    /// ```no_run
    /// # async fn serve(listener: trefoil::io::UnixListener) {
    /// loop {
    ///     // (An error has taken a tenth of a second, and the next call may succeed.)
    ///     let Ok((stream, _)) = listener.accept().await else { continue };
    ///     trefoil::spawn(async move { stream.write_all(b"hello\n").await }).detach();
    /// }
    /// # }
    /// ```
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let accept_one = |listener: &Socket| Ok(sockets::accept(listener.as_fd())?.0);
        let stream = accept(&self.source, accept_one).await?;
        let stream = UnixStream::from_nonblocking(stream);
        // Of a client that is gone already, some systems have no address any more.
        let unnamed = |_| SocketAddr::from_pathname("");
        let peer = stream.peer_addr().or_else(unnamed)?;
        Ok((stream, peer))
    }

    /// The address on which it listens.
    ///
    /// # Errors
    ///
    /// Errors of the system.
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

socket! { UnixListener, Socket }
