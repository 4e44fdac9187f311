//! tokio's `AsyncRead` and `AsyncWrite` on the streams of [`io`](crate::io): for crates that need
//! these traits and nothing else of tokio, such as tokio-rustls, tokio-tungstenite and tokio-util's
//! codecs.
//!
//! There is nothing to call. With the feature `tokio-io` the traits are implemented by
//!
//! - [`TcpStream`], [`UnixStream`](crate::io::UnixStream), shared references to them
//!   (`&TcpStream`), their [`ReadHalf`] and [`WriteHalf`], and the pipes of a child:
//!   [`ChildStdin`], [`ChildStdout`], [`ChildStderr`]. Reading goes straight into the caller's
//!   memory, even if that is not initialised; writes are vectored; nothing is copied.
//! - [`Stdin`], [`Stdout`], [`Stderr`] and [`fs::File`] (to seek, call its own method). They fill
//!   the caller's memory with zeros before they first read into it.
//!
//! `poll_flush` of a socket does nothing, since the system already has the bytes; `poll_shutdown`
//! closes the writing direction, so that the peer reads the end of the stream. (A child's standard
//! input is closed by dropping it.)
//!
//! What cannot run here is code that calls tokio's runtime itself: `tokio::spawn`, `tokio::time`,
//! `tokio::net`. tokio's locks and channels (`tokio::sync`) and its functions over readers and
//! writers (`tokio::io::copy`, with its feature `io-util`) need no runtime, and work.
//!
//! ```
//! use tokio::io::{AsyncRead, AsyncWrite};
//! use trefoil::io::{TcpListener, TcpStream};
//!
//! /// Stands for what such crates have: `TlsConnector::connect`, `accept_async`, `Framed::new`.
//! fn wrap<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> S {
//!     stream
//! }
//!
//! trefoil::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let near = wrap(TcpStream::connect(listener.local_addr()?).await?);
//!     near.write_all(b"hello").await?;
//!     let (far, _) = listener.accept().await?;
//!     wrap(far).read_exact(&mut [0; 5]).await
//! })?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! `tests/trefoil-adapters/examples/` has an HTTPS server (tokio-rustls) and a WebSocket echo
//! (tokio-tungstenite).

// Tests: `tests/trefoil-adapters/tests/connections/tokio_io.rs`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::raw_fill;
use super::writes::stream_writes;
use crate::io::{
    ByteStream, ChildStderr, ChildStdin, ChildStdout, ReadHalf, Stderr, Stdin, Stdout, TcpStream,
    WriteHalf, fs,
};

/// Reads into memory that is filled with zeros first.
fn filled(
    reader: Pin<&mut impl futures_io::AsyncRead>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let memory = buffer.initialize_unfilled();
    let count = ready!(reader.poll_read(cx, memory))?;
    buffer.advance(count);
    Poll::Ready(Ok(()))
}

raw_fill::reads! {
    AsyncRead, &mut ReadBuf<'_>; this => this.source(), raw_fill::tokio_from;
    TcpStream, &TcpStream, ReadHalf<TcpStream>, ChildStdout, ChildStderr
}
raw_fill::reads! {
    AsyncRead, &mut ReadBuf<'_>; this => this, filled;
    Stdin, fs::File
}
stream_writes!(AsyncWrite; TcpStream, &TcpStream, WriteHalf<TcpStream>, ChildStdin);
stream_writes!(AsyncWrite; Stdout, Stderr, fs::File);

/// The implementations for streams that only some systems have.
#[cfg(unix)]
mod of_unix {
    use super::*;
    use crate::io::UnixStream;

    raw_fill::reads! {
        AsyncRead, &mut ReadBuf<'_>; this => this.source(), raw_fill::tokio_from;
        UnixStream, &UnixStream, ReadHalf<UnixStream>
    }
    stream_writes!(AsyncWrite; UnixStream, &UnixStream, WriteHalf<UnixStream>);
}
