//! A stream in two halves with separate owners.
//!
//! Streams are used through shared references, so a half is a counted reference with fewer methods.
//! It adds only its drop: dropping the writing half half-closes the stream, as if each half were a
//! descriptor. Dropping the last half closes it.
//!
//! Checked by `tests/event_loop/`.

use std::sync::Arc;

use rustix::fd::AsFd;

use super::bytes::{Stream, close_write};
use super::source::Source;

/// The reading half of a stream: what [`TcpStream::into_split`](super::TcpStream::into_split) and
/// [`UnixStream::into_split`](super::UnixStream::into_split) give.
///
/// ```
/// use trefoil::io::UnixStream;
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     let (reader, writer) = near.into_split();
///     far.write_all(b"abc").await?;
///     assert_eq!(reader.read(&mut [0; 8]).await?, 3);
///     let near: UnixStream = reader.reunite(writer).unwrap();
///     near.write_all(b"whole again").await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct ReadHalf<S> {
    stream: Arc<S>,
}

/// The writing half of a stream: what [`TcpStream::into_split`](super::TcpStream::into_split) and
/// [`UnixStream::into_split`](super::UnixStream::into_split) give.
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
    /// The halves are being reunited: nothing is closed.
    whole: bool,
}

pub(super) fn split<S: AsFd>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let stream = Arc::new(stream);
    let writer = WriteHalf {
        stream: stream.clone(),
        whole: false,
    };
    (ReadHalf { stream }, writer)
}

impl<S: AsFd> ReadHalf<S> {
    /// Puts the halves together again.
    ///
    /// # Errors
    ///
    /// Both halves, if they are of different streams.
    ///
    /// ```
    /// use trefoil::io::UnixStream;
    ///
    /// let (near, far) = UnixStream::pair()?;
    /// let (reader, writer) = near.into_split();
    /// let (other_reader, other_writer) = far.into_split();
    /// let (reader, other_writer) = reader.reunite(other_writer).unwrap_err();
    /// assert!(reader.reunite(writer).is_ok() && other_reader.reunite(other_writer).is_ok());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reunite(self, mut writer: WriteHalf<S>) -> Result<S, (Self, WriteHalf<S>)> {
        if !Arc::ptr_eq(&self.stream, &writer.stream) {
            return Err((self, writer));
        }
        writer.whole = true;
        drop(writer);
        Ok(Arc::into_inner(self.stream).expect("two halves have two references, and one is gone"))
    }
}

impl<S: Stream> Stream for ReadHalf<S> {
    type Io = S::Io;

    fn source(&self) -> &Source<S::Io> {
        self.stream.source()
    }
}

impl<S: Stream + AsFd> Stream for WriteHalf<S> {
    type Io = S::Io;

    fn source(&self) -> &Source<S::Io> {
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
        if !self.whole {
            // The result is ignored: either the peer learns it, or it is gone already.
            let _ = close_write(self.stream.as_fd());
        }
    }
}
