//! What `Async` has for each kind of socket.

use std::io::Result;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use futures_core::Stream;
use futures_lite::stream;
use trefoil::io as ours;

use crate::Async;

/// Operations of a socket that may have to wait.
macro_rules! operations {
    ($socket:ty; $($wait:ident $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Async<$socket> {
            $(pub async fn $name(&self, $($argument: $type),*) -> Result<$result> {
                self.0.$wait(|socket| socket.$name($($argument),*)).await
            })*
        }
    };
}

operations! { TcpStream; read_with peek(bytes: &mut [u8]) -> usize; }

operations! {
    UdpSocket;
    read_with peek(bytes: &mut [u8]) -> usize;
    read_with peek_from(bytes: &mut [u8]) -> (usize, SocketAddr);
    read_with recv(bytes: &mut [u8]) -> usize;
    read_with recv_from(bytes: &mut [u8]) -> (usize, SocketAddr);
    write_with send(bytes: &[u8]) -> usize;
}

operations! {
    UnixDatagram;
    read_with recv(bytes: &mut [u8]) -> usize;
    read_with recv_from(bytes: &mut [u8]) -> (usize, UnixAddr);
    write_with send(bytes: &[u8]) -> usize;
}

impl Async<TcpListener> {
    pub fn bind(address: impl Into<SocketAddr>) -> Result<Self> {
        Self::new(TcpListener::bind(address.into())?)
    }

    pub async fn accept(&self) -> Result<(Async<TcpStream>, SocketAddr)> {
        let (stream, from) = self.0.read_with(TcpListener::accept).await?;
        Ok((Async::new(stream)?, from))
    }

    pub fn incoming(&self) -> impl Stream<Item = Result<Async<TcpStream>>> {
        stream::unfold(self, async |listener| {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        })
    }
}

impl Async<TcpStream> {
    pub async fn connect(address: impl Into<SocketAddr>) -> Result<Self> {
        let stream = ours::TcpStream::connect(address.into()).await?;
        Self::new(stream.as_fd().try_clone_to_owned()?.into())
    }
}

impl Async<UdpSocket> {
    pub fn bind(address: impl Into<SocketAddr>) -> Result<Self> {
        Self::new(UdpSocket::bind(address.into())?)
    }

    pub async fn send_to(&self, bytes: &[u8], to: impl Into<SocketAddr>) -> Result<usize> {
        let to = to.into();
        self.0.write_with(|socket| socket.send_to(bytes, to)).await
    }
}

impl Async<UnixListener> {
    pub fn bind(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(UnixListener::bind(path)?)
    }

    pub async fn accept(&self) -> Result<(Async<UnixStream>, UnixAddr)> {
        let (stream, from) = self.0.read_with(UnixListener::accept).await?;
        Ok((Async::new(stream)?, from))
    }

    pub fn incoming(&self) -> impl Stream<Item = Result<Async<UnixStream>>> {
        stream::unfold(self, async |listener| {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        })
    }
}

impl Async<UnixStream> {
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self> {
        let stream = ours::UnixStream::connect(path).await?;
        Self::new(stream.as_fd().try_clone_to_owned()?.into())
    }

    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::new(one)?, Self::new(other)?))
    }
}

impl Async<UnixDatagram> {
    pub fn bind(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(UnixDatagram::bind(path)?)
    }

    pub fn unbound() -> Result<Self> {
        Self::new(UnixDatagram::unbound()?)
    }

    pub fn pair() -> Result<(Self, Self)> {
        let (one, other) = UnixDatagram::pair()?;
        Ok((Self::new(one)?, Self::new(other)?))
    }

    pub async fn send_to(&self, bytes: &[u8], to: impl AsRef<Path>) -> Result<usize> {
        let to = to.as_ref();
        self.0.write_with(|socket| socket.send_to(bytes, to)).await
    }
}
