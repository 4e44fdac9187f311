//! A stream in two halves with separate owners.
//!
//! Streams are used through shared references, so a half is a counted reference with fewer methods.
//! It adds only its destructor: dropping the writing half half-closes the stream, as if each half
//! were a descriptor. Dropping the last half closes the stream.
//!
//! Tests: `tests/io/unix.rs::halves_of_both_kinds_of_stream`,
//! `tests/io/edge_cases.rs::half_closed_the_other_half_goes_on`.

use std::sync::Arc;

use rustix::fd::AsFd;

use super::byte_stream::{ByteStream, close_write};
use super::source::IoSource;
use crate::sys::fork;

/// The reading half of a stream: returned by
/// [`TcpStream::into_split`](super::TcpStream::into_split) and
/// [`UnixStream::into_split`](super::UnixStream::into_split).
///
/// ```
/// use trefoil::io::UnixStream;
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     let (reader, writer) = near.into_split();
///     far.write_all(b"abc").await?;
///     assert_eq!(reader.read(&mut [0; 8]).await?, 3);
///     writer.write_all(b"def").await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadHalf<S> {
    stream: Arc<S>,
}

/// The writing half of a stream: returned by
/// [`TcpStream::into_split`](super::TcpStream::into_split) and
/// [`UnixStream::into_split`](super::UnixStream::into_split).
///
/// Dropping it half-closes the stream: the peer reads its end.
///
/// ```
/// use trefoil::io::UnixStream;
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     let (_reader, writer) = near.into_split();
///     writer.write_all(b"abc").await?;
///     drop(writer);
///     let mut text = String::new();
///     far.read_to_string(&mut text).await?;
///     assert_eq!(text, "abc");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteHalf<S: AsFd> {
    stream: Arc<S>,
    /// The fork generation of the process that it was made in; see `sys/unix/fork.rs`.
    born: u32,
}

pub(super) fn split<S: AsFd>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    fork::register_handler();
    let (stream, born) = (Arc::new(stream), fork::generation());
    let reader = ReadHalf {
        stream: stream.clone(),
    };
    (reader, WriteHalf { stream, born })
}

impl<S: ByteStream> ByteStream for ReadHalf<S> {
    type Io = S::Io;

    fn source(&self) -> &IoSource<S::Io> {
        self.stream.source()
    }
}

impl<S: ByteStream + AsFd> ByteStream for WriteHalf<S> {
    type Io = S::Io;

    fn source(&self) -> &IoSource<S::Io> {
        self.stream.source()
    }
}

impl<S> AsRef<S> for ReadHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsFd> AsRef<S> for WriteHalf<S> {
    fn as_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsFd> Drop for WriteHalf<S> {
    fn drop(&mut self) {
        if self.born != fork::generation() {
            return; // this process was forked, and its parent goes on writing
        }
        // The result is ignored: either the peer reads the end, or the peer is gone.
        let _ = close_write(self.stream.as_fd());
    }
}
