//! `net`: trefoil's sockets with tokio's traits. What is not here is the method of trefoil's.

use std::io::{ErrorKind, IoSlice, Result};
use std::net::{self, SocketAddr};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net as unix_net;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use original::io::{AsyncRead, AsyncWrite, ReadBuf};
pub use trefoil::io::ToSocketAddrs;
use trefoil::io::{self as ours, ReadHalf, WriteHalf};

pub use crate::absent::{TcpSocket, UnixSocket};

pub async fn lookup_host(name: impl ToSocketAddrs) -> Result<impl Iterator<Item = SocketAddr>> {
    Ok(ours::lookup_host(name).await?.into_iter())
}

/// A socket around one of trefoil's, whose methods it has.
macro_rules! socket {
    ($($name:ident from $std:ty,)*) => {$(
        #[derive(Debug)]
        pub struct $name(ours::$name);

        impl $name {
            pub fn from_std(socket: $std) -> Result<Self> {
                ours::$name::try_from(socket).map(Self)
            }

            /// As docs/FROM_TOKIO.md has it.
            pub fn into_std(self) -> Result<$std> {
                Ok(self.0.as_fd().try_clone_to_owned()?.into())
            }
        }

        impl TryFrom<$std> for $name {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> Result<Self> {
                Self::from_std(socket)
            }
        }

        impl Deref for $name {
            type Target = ours::$name;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }
    )*};
}

socket! {
    TcpListener from net::TcpListener,
    TcpStream from net::TcpStream,
    UdpSocket from net::UdpSocket,
    UnixDatagram from unix_net::UnixDatagram,
    UnixListener from unix_net::UnixListener,
    UnixStream from unix_net::UnixStream,
}

/// Reading and writing, as trefoil's feature `tokio-io` has it.
macro_rules! stream {
    ($($name:ident)*) => {$(
        impl $name {
            pub fn into_split(self) -> (ReadHalf<ours::$name>, WriteHalf<ours::$name>) {
                self.0.into_split()
            }

            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
                self.0.poll_readable(cx)
            }

            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
                self.0.poll_writable(cx)
            }
        }

        impl AsyncRead for $name {
            fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, buffer)
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
                AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<Result<usize>> {
                AsyncWrite::poll_write_vectored(Pin::new(&mut self.0), cx, slices)
            }

            fn is_write_vectored(&self) -> bool {
                AsyncWrite::is_write_vectored(&self.0)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
                AsyncWrite::poll_shutdown(Pin::new(&mut self.0), cx)
            }
        }
    )*};
}

stream!(TcpStream UnixStream);

impl TcpStream {
    pub async fn connect(address: impl ToSocketAddrs) -> Result<Self> {
        ours::TcpStream::connect(address).await.map(Self)
    }
}

impl TcpListener {
    pub async fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        ours::TcpListener::bind(address).await.map(Self)
    }

    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        Ok((TcpStream(stream), address))
    }

    /// For tests that are cut.
    pub fn poll_accept(&self, _: &mut Context<'_>) -> Poll<Result<(TcpStream, SocketAddr)>> {
        panic!("a listener has no such method")
    }
}

/// What `attempt` returns once it does not have to wait.
fn when_ready<R>(
    poll_ready: impl Fn(&mut Context<'_>) -> Poll<Result<()>>,
    mut attempt: impl FnMut() -> Result<R>,
    cx: &mut Context<'_>,
) -> Poll<Result<R>> {
    loop {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(poll_ready(cx))?,
            result => return Poll::Ready(result),
        }
    }
}

/// What has read so many bytes into a buffer.
fn filled(
    buffer: &mut ReadBuf<'_>,
    read: impl FnOnce(&mut [u8]) -> Poll<Result<usize>>,
) -> Poll<Result<()>> {
    let count = ready!(read(buffer.initialize_unfilled()))?;
    buffer.advance(count);
    Poll::Ready(Ok(()))
}

/// Puts what has been read at the end of a buffer that grows.
fn put<T>(buffer: &mut impl BufMut, bytes: &[u8], (count, from): (usize, T)) -> (usize, T) {
    buffer.put_slice(&bytes[..count]);
    (count, from)
}

/// Memory for a message of any size that fits.
fn room(buffer: &impl BufMut) -> Vec<u8> {
    vec![0; buffer.remaining_mut().min(1 << 16)]
}

/// What both kinds of datagram sockets have.
macro_rules! datagrams {
    ($($name:ident $address:ty,)*) => {$(
        impl $name {
            pub async fn recv_buf(&self, buffer: &mut impl BufMut) -> Result<usize> {
                let mut bytes = room(buffer);
                let count = self.0.recv(&mut bytes).await?;
                Ok(put(buffer, &bytes, (count, ())).0)
            }

            pub async fn recv_buf_from(&self, buffer: &mut impl BufMut) -> Result<(usize, $address)> {
                let mut bytes = room(buffer);
                let received = self.0.recv_from(&mut bytes).await?;
                Ok(put(buffer, &bytes, received))
            }

            pub fn try_recv_buf(&self, buffer: &mut impl BufMut) -> Result<usize> {
                let mut bytes = room(buffer);
                let count = self.0.try_recv(&mut bytes)?;
                Ok(put(buffer, &bytes, (count, ())).0)
            }

            pub fn try_recv_buf_from(&self, buffer: &mut impl BufMut) -> Result<(usize, $address)> {
                let mut bytes = room(buffer);
                let received = self.0.try_recv_from(&mut bytes)?;
                Ok(put(buffer, &bytes, received))
            }

            pub fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
                filled(buffer, |bytes| when_ready(|cx| self.0.poll_readable(cx), || self.0.try_recv(bytes), cx))
            }

            pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
                when_ready(|cx| self.0.poll_writable(cx), || self.0.try_send(bytes), cx)
            }

            pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
                self.0.poll_readable(cx)
            }

            pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
                self.0.poll_writable(cx)
            }
        }
    )*};
}

datagrams! {
    UdpSocket SocketAddr,
    UnixDatagram unix_net::SocketAddr,
}

impl UdpSocket {
    pub async fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        ours::UdpSocket::bind(address).await.map(Self)
    }

    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        target: SocketAddr,
    ) -> Poll<Result<usize>> {
        let try_now = || self.0.try_send_to(bytes, target);
        when_ready(|cx| self.0.poll_writable(cx), try_now, cx)
    }

    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<SocketAddr>> {
        let bytes = buffer.initialize_unfilled();
        let try_now = || self.0.try_recv_from(bytes);
        let (count, from) = ready!(when_ready(|cx| self.0.poll_readable(cx), try_now, cx))?;
        buffer.advance(count);
        Poll::Ready(Ok(from))
    }
}

impl UnixDatagram {
    pub fn bind(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_std(unix_net::UnixDatagram::bind(path)?)
    }

    pub fn unbound() -> Result<Self> {
        ours::UnixDatagram::unbound().map(Self)
    }

    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = ours::UnixDatagram::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Trefoil's is async, because it looks the path up off the loop.
    pub fn connect(&self, path: impl AsRef<Path>) -> Result<()> {
        unix_net::UnixDatagram::from(self.as_fd().try_clone_to_owned()?).connect(path)
    }
}

impl UnixListener {
    /// Trefoil's is async, because it looks the path up off the loop.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_std(unix_net::UnixListener::bind(path)?)
    }

    pub fn bind_addr(address: &unix_net::SocketAddr) -> Result<Self> {
        Self::from_std(unix_net::UnixListener::bind_addr(address)?)
    }

    pub async fn accept(&self) -> Result<(UnixStream, unix_net::SocketAddr)> {
        let (stream, address) = self.0.accept().await?;
        Ok((UnixStream(stream), address))
    }
}

impl UnixStream {
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self> {
        ours::UnixStream::connect(path).await.map(Self)
    }

    pub async fn connect_addr(address: &unix_net::SocketAddr) -> Result<Self> {
        ours::UnixStream::connect_addr(address).await.map(Self)
    }

    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = ours::UnixStream::pair()?;
        Ok((Self(one), Self(other)))
    }

    pub fn peer_cred(&self) -> Result<unix::UCred> {
        self.0.peer_cred().map(unix::UCred)
    }
}

pub mod unix {
    use trefoil::io::PeerCredentials;
    pub use trefoil::io::{ReadHalf as OwnedReadHalf, WriteHalf as OwnedWriteHalf};

    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub struct UCred(pub(super) PeerCredentials);

    impl UCred {
        pub fn uid(&self) -> u32 {
            self.0.uid
        }

        pub fn gid(&self) -> u32 {
            self.0.gid
        }

        pub fn pid(&self) -> Option<i32> {
            self.0.pid.try_into().ok()
        }
    }
}
