//! Between hyper's traits and tokio's, both ways.
//!
//! One side's buffer is made over the other's memory, so nothing is copied. It is filled with zeros
//! before it is lent, once for each new buffer. Our own streams do not go through here.
//!
//! Checked by `adapters/tests/wrapped.rs`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::rt::{Read, ReadBufCursor, Write};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::adapters::raw_fill;
use crate::adapters::writes::writes;

pin_project! {
    /// Implements hyper's `Read` and `Write` for types with tokio's `AsyncRead` and `AsyncWrite` (a
    /// TLS stream of tokio-rustls, say), and the reverse (for an upgraded connection).
    ///
    /// [`io`](crate::io)'s own streams have both and do not need it. With the features `hyper` and
    /// `tokio-io`.
    ///
    /// ```
    /// use hyper::body::Incoming;
    /// use hyper::service::service_fn;
    /// use hyper::{Request, Response, server};
    /// use trefoil::adapters::hyper::TokioIo;
    ///
    /// trefoil::run(async {
    ///     let (client, server) = trefoil::io::UnixStream::pair()?;
    ///     client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    ///     let service = service_fn(async |_: Request<Incoming>| Ok::<_, hyper::Error>(Response::new("hello".to_owned())));
    ///     // Any `AsyncRead + AsyncWrite` of tokio's.
    ///     server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service).await.unwrap();
    ///     let mut answer = String::new();
    ///     client.read_to_string(&mut answer).await?;
    ///     assert!(answer.ends_with("hello"));
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug)]
    pub struct TokioIo<T> {
        #[pin]
        inner: T,
    }
}

impl<T> TokioIo<T> {
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

impl<T: AsyncRead> Read for TokioIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        raw_fill::hyper_with(buffer, |bytes| {
            let place = bytes.as_ptr();
            let mut inner = ReadBuf::new(bytes);
            ready!(self.project().inner.poll_read(cx, &mut inner))?;
            let filled = inner.filled();
            assert!(place == filled.as_ptr(), "a reader put another buffer in");
            Poll::Ready(Ok(filled.len()))
        })
    }
}

impl<T: Read> AsyncRead for TokioIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = ::hyper::rt::ReadBuf::new(buffer.initialize_unfilled());
        ready!(self.project().inner.poll_read(cx, inner.unfilled()))?;
        let count = inner.filled().len();
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

writes! {
    impl [T: AsyncWrite] Write, poll_shutdown for TokioIo<T>;
    by AsyncWrite, poll_shutdown of this => this.project().inner;
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

writes! {
    impl [T: Write] AsyncWrite, poll_shutdown for TokioIo<T>;
    by Write, poll_shutdown of this => this.project().inner;
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
