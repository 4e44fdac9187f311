//! A TCP socket before it is connected or listens.
//!
//! It is only a descriptor that does not block, with settings. `connect` and `listen` make of it
//! what has a loop.
//!
//! Tests: `tests/io/listeners.rs::{a_socket_has_its_settings_before_it_connects,
//! listeners_share_a_port}`.

use std::io;
use std::net::SocketAddr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, bind, connect, getsockname, listen, sockopt};

use super::source::fairly;
use super::tcp_listener::TcpListener;
use super::tcp_stream::TcpStream;
use crate::sys::sockets;

/// A TCP socket that is neither connected nor listens yet: for settings that must be made before.
///
/// [`TcpStream::connect`] and [`TcpListener::bind`] need no such socket, and know names. Settings
/// that are not here are made with the crates `rustix` or `socket2`, on its descriptor.
///
/// ```
/// use trefoil::io::TcpSocket;
///
/// trefoil::run(async {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_reuseaddr(true)?;
///     socket.set_recv_buffer_size(256 * 1024)?;
///     socket.bind("127.0.0.1:0".parse().unwrap())?;
///     let listener = socket.listen(1024)?;
///
///     let client = TcpSocket::new_v4()?;
///     client.set_nodelay(true)?;
///     let client = client.connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     server.read_exact(&mut [0; 4]).await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    socket: OwnedFd,
}

impl TcpSocket {
    /// A new socket for IPv4 addresses.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, no descriptor is left.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new_v4() -> io::Result<Self> {
        let socket = sockets::stream(AddressFamily::INET)?;
        Ok(Self { socket })
    }

    /// A new socket for IPv6 addresses.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, no descriptor is left, or it has no IPv6.
    ///
    /// ```
    /// use trefoil::io::TcpSocket;
    ///
    /// let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    /// let socket = match address.is_ipv6() {
    ///     true => TcpSocket::new_v6()?,
    ///     false => TcpSocket::new_v4()?,
    /// };
    /// socket.bind(address)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new_v6() -> io::Result<Self> {
        let socket = sockets::stream(AddressFamily::INET6)?;
        Ok(Self { socket })
    }

    /// Sets whether [`bind`](Self::bind) may take an address that connections of an earlier
    /// listener still use while they close (`SO_REUSEADDR`). Off at first; [`TcpListener::bind`]
    /// sets it, except on Windows, where it would let two programs listen at one address.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_reuseaddr(true)?;
    /// assert!(socket.reuseaddr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_reuseaddr(&self, reuse: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_reuseaddr(&self.socket, reuse)?)
    }

    /// Whether the address may be used again: see [`set_reuseaddr`](Self::set_reuseaddr).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.reuseaddr()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reuseaddr(&self) -> io::Result<bool> {
        Ok(sockopt::socket_reuseaddr(&self.socket)?)
    }

    /// Sets how many bytes that the peer has not received yet the system keeps. It may take another
    /// value: Linux doubles it, for its own needs, and has a limit.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_send_buffer_size(64 * 1024)?;
    /// assert!(socket.send_buffer_size()? >= 64 * 1024);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        Ok(sockopt::set_socket_send_buffer_size(&self.socket, bytes)?)
    }

    /// The size of the send buffer: see [`set_send_buffer_size`](Self::set_send_buffer_size).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.send_buffer_size()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        Ok(sockopt::socket_send_buffer_size(&self.socket)?)
    }

    /// Sets how many bytes that were not read yet the system keeps. It may take another value:
    /// Linux doubles it, for its own needs, and has a limit. For a large TCP window, set it before
    /// the connection is made; a listener passes it on.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_recv_buffer_size(64 * 1024)?;
    /// assert!(socket.recv_buffer_size()? >= 64 * 1024);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        Ok(sockopt::set_socket_recv_buffer_size(&self.socket, bytes)?)
    }

    /// The size of the receive buffer: see [`set_recv_buffer_size`](Self::set_recv_buffer_size).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.recv_buffer_size()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        Ok(sockopt::socket_recv_buffer_size(&self.socket)?)
    }

    /// Sets whether small writes are sent at once (`true`) or collected (`false`, the system's
    /// default).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_nodelay(true)?;
    /// assert!(socket.nodelay()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.socket, nodelay)?)
    }

    /// Whether small packets are sent at once: see [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.nodelay()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(sockopt::tcp_nodelay(&self.socket)?)
    }

    /// Sets whether the system asks a silent peer now and then whether it is still there, and ends
    /// the connection if it is not. Off at first; how often is a setting of the system (two hours
    /// on Linux).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_keepalive(true)?;
    /// assert!(socket.keepalive()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_keepalive(&self.socket, keepalive)?)
    }

    /// Whether keepalive packets are sent: see [`set_keepalive`](Self::set_keepalive).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.keepalive()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn keepalive(&self) -> io::Result<bool> {
        Ok(sockopt::socket_keepalive(&self.socket)?)
    }

    /// Gives the socket an address of this machine. Port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if another socket has it, see [`set_reuseaddr`](Self::set_reuseaddr); other
    /// errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        Ok(bind(&self.socket, &address)?)
    }

    /// The address that [`bind`](Self::bind) gave it.
    ///
    /// # Errors
    ///
    /// Errors of the system. On Windows a socket that is not bound has none.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(getsockname(&self.socket)?.try_into()?)
    }

    /// Connects to this address.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused` if nothing listens there; other errors of the system. When used outside
    /// a loop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    ///
    /// ```
    /// use trefoil::io::{TcpListener, TcpSocket};
    ///
    /// trefoil::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let socket = TcpSocket::new_v4()?;
    ///     socket.bind("127.0.0.1:0".parse().unwrap())?; // from where
    ///     let from = socket.local_addr()?;
    ///     let stream = socket.connect(listener.local_addr()?).await?;
    ///     assert_eq!(stream.local_addr()?, from);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        fairly().await?;
        match connect(&self.socket, &address) {
            // An interrupted attempt goes on.
            Ok(()) | Err(sockets::CONNECTS | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        TcpStream::from_nonblocking(self.socket).connected().await
    }

    /// Listens for connections, of which about `backlog` may wait to be accepted; the system has a
    /// limit, too. ([`TcpListener::bind`] asks for 4096.) It needs no loop.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// let listener = socket.listen(128)?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        listen(&self.socket, backlog)?;
        Ok(TcpListener::from_nonblocking(self.socket))
    }
}

#[cfg(unix)]
impl TcpSocket {
    /// Sets whether several sockets may be bound to one address, all of which must have this
    /// setting (`SO_REUSEPORT`). On Linux the system then divides new connections among the
    /// listeners. Off at first. Unix only.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.set_reuseport(true)?;
    /// assert!(socket.reuseport()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_reuseport(&self, reuse: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_reuseport(&self.socket, reuse)?)
    }

    /// Whether several sockets may use the port: see [`set_reuseport`](Self::set_reuseport).
    ///
    /// # Errors
    ///
    /// Errors of the system.
    ///
    /// ```
    /// let socket = trefoil::io::TcpSocket::new_v4()?;
    /// socket.reuseport()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reuseport(&self) -> io::Result<bool> {
        Ok(sockopt::socket_reuseport(&self.socket)?)
    }
}

/// Takes over a socket that is not connected, with all its settings: one of `socket2`, as the
/// standard library's type. It becomes non-blocking.
///
/// ```
/// use rustix::net::{AddressFamily, SocketType};
/// use trefoil::io::TcpSocket;
///
/// # let _first = TcpSocket::new_v4()?;
/// let made = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
/// let socket = TcpSocket::try_from(std::net::TcpStream::from(made))?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// # Ok::<(), std::io::Error>(())
/// ```
impl TryFrom<std::net::TcpStream> for TcpSocket {
    type Error = io::Error;

    fn try_from(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        sockets::quiet(&socket);
        let socket = socket.into();
        Ok(Self { socket })
    }
}

crate::sys::descriptor::descriptor! { TcpSocket, socket }
