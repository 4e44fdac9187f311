//! Between hyper's traits and those of futures-io, both ways.
//!
//! futures-io cannot read into uninitialised memory: hyper's buffer is filled with zeros before it
//! is lent, once for each new buffer. Our own streams do not go through here.
//!
//! Checked by `adapters/tests/wrapped.rs`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use futures_io::{AsyncRead, AsyncWrite};
use pin_project_lite::pin_project;

use crate::adapters::raw_fill;
use crate::adapters::writes::writes;

pin_project! {
    /// Implements hyper's `Read` and `Write` for types with the traits of futures-io, and the
    /// reverse.
    ///
    /// [`io`](crate::io)'s own streams do not need it.
    ///
    /// ```
    /// use hyper::body::Incoming;
    /// use hyper::service::service_fn;
    /// use hyper::{Request, Response, server};
    /// use trefoil::adapters::hyper::FuturesIo;
    ///
    /// trefoil::run(async {
    ///     let (client, server) = trefoil::io::UnixStream::pair()?;
    ///     client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    ///     let service = service_fn(async |_: Request<Incoming>| Ok::<_, hyper::Error>(Response::new("hello".to_owned())));
    ///     // Any `AsyncRead + AsyncWrite`.
    ///     server::conn::http1::Builder::new().serve_connection(FuturesIo::new(server), service).await.unwrap();
    ///     let mut answer = String::new();
    ///     client.read_to_string(&mut answer).await?;
    ///     assert!(answer.ends_with("hello"));
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct FuturesIo<T> {
        #[pin]
        inner: T,
    }
}

impl<T> FuturesIo<T> {
    /// Wraps it.
    pub const fn new(inner: T) -> Self {
        Self { inner }
    }

    /// The wrapped value.
    pub const fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The wrapped value.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The wrapped value.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead> Read for FuturesIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        raw_fill::hyper_with(buffer, |bytes| self.project().inner.poll_read(cx, bytes))
    }
}

impl<T: Read> AsyncRead for FuturesIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        let poll = self.project().inner.poll_read(cx, buffer.unfilled());
        poll.map_ok(|()| buffer.filled().len())
    }
}

// Whether the inner stream has its own vectored write cannot be asked, so hyper is told that it has
// not.
writes! {
    impl [T: AsyncWrite] Write, poll_shutdown for FuturesIo<T>;
    by AsyncWrite, poll_close of this => this.project().inner;
}

writes! {
    impl [T: Write] AsyncWrite, poll_close for FuturesIo<T>;
    by Write, poll_shutdown of this => this.project().inner;
}
