//! Names of async-io over trefoil's `AsyncFd` and `sleep`.

mod net;
mod timer;

use std::io::{ErrorKind, Read, Result, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use rustix::io::ioctl_fionbio;
pub use timer::Timer;
use trefoil::io::AsyncFd;
pub use trefoil::run as block_on;

#[derive(Debug)]
pub struct Async<T: AsFd>(AsyncFd<T>);

impl<T: AsFd> Async<T> {
    pub fn new(io: T) -> Result<Self> {
        ioctl_fionbio(&io, true)?;
        AsyncFd::new(io).map(Self)
    }

    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    pub async fn readable(&self) -> Result<()> {
        self.0.readable().await
    }

    pub async fn writable(&self) -> Result<()> {
        self.0.writable().await
    }
}

impl<T: AsFd> AsRef<T> for Async<T> {
    fn as_ref(&self) -> &T {
        self.get_ref()
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// For an `Async`, and for a reference to one.
macro_rules! stream {
    ($($stream:tt)*) => {
        impl<T: AsFd> AsyncRead for $($stream)*
        where
            for<'a> &'a T: Read,
        {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<Result<usize>> {
                retried(|| self.0.get_ref().read(bytes), || self.0.poll_readable(cx))
            }
        }

        impl<T: AsFd> AsyncWrite for $($stream)*
        where
            for<'a> &'a T: Write,
        {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
                retried(|| self.0.get_ref().write(bytes), || self.0.poll_writable(cx))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    };
}

stream!(Async<T>);
stream!(&Async<T>);

/// Tries until it would not block, and waits in between.
fn retried(
    mut operation: impl FnMut() -> Result<usize>,
    mut wait: impl FnMut() -> Poll<Result<()>>,
) -> Poll<Result<usize>> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(wait())?,
            result => return Poll::Ready(result),
        }
    }
}
