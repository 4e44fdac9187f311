//! A buffered writer.
//!
//! It stores how much of the buffer was written, so after a dropped or failed flush the next one
//! continues where that was.
//!
//! Tests: `tests/io/buffered.rs`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::buf_reader::CAPACITY;
use super::read_write;

/// A buffered writer: collects small pieces, and writes large ones.
///
/// It works with any futures-io writer, also those of other crates; wrap one that is not `Unpin` in
/// `Box::pin`.
///
/// **[`flush`](Self::flush) it at the end.** Dropping it loses buffered bytes, because a destructor
/// cannot wait. A flush that fails, or is given up, loses nothing: the bytes that were not written
/// stay in the [`buffer`](Self::buffer), and the next flush continues with them. (So it is with all
/// writers of this crate. One of another crate that accepts bytes before they are written decides
/// for itself what becomes of them.)
///
/// ```
/// use trefoil::io::{BufWriter, UnixStream};
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     let mut writer = BufWriter::new(near);
///     for line in ["one\n", "two\n"] {
///         writer.write_all(line.as_bytes()).await?; // in memory
///     }
///     writer.flush().await?; // one system call
///     let mut both = [0; 8];
///     far.read_exact(&mut both).await?;
///     assert_eq!(&both, b"one\ntwo\n");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct BufWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    /// How many bytes of the buffer have been written.
    written: usize,
    capacity: usize,
}

impl<W> BufWriter<W> {
    /// Wraps `inner`, with a buffer of 8 KiB.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let writer = trefoil::io::BufWriter::new(near);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(inner: W) -> Self {
        Self::with_capacity(CAPACITY, inner)
    }

    /// Wraps `inner` with a buffer of `capacity` bytes. Pieces of at least this length are written
    /// without being copied.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let writer = trefoil::io::BufWriter::with_capacity(64 * 1024, near);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_capacity(capacity: usize, inner: W) -> Self {
        Self {
            inner,
            buffer: Vec::with_capacity(capacity),
            written: 0,
            capacity,
        }
    }

    /// The bytes that have not been written yet.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut writer = trefoil::io::BufWriter::new(near);
    /// trefoil::run(writer.write_all(b"abc"))?;
    /// assert_eq!(writer.buffer(), b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// The wrapped writer.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let writer = trefoil::io::BufWriter::new(near);
    /// assert!(writer.get_ref().peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The wrapped writer. Bytes that are written to it directly come before the buffer. After a
    /// flush that was given up, flush again before you use it: of a file, that write still runs.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut writer = trefoil::io::BufWriter::new(near);
    /// let stream: &mut trefoil::io::UnixStream = writer.get_mut();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Returns the wrapped writer; the [`buffer`](Self::buffer) is lost. [`flush`](Self::flush) it
    /// first.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let near = trefoil::io::BufWriter::new(near).into_inner();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: AsyncWrite + Unpin> BufWriter<W> {
    /// Takes some of `bytes`; returns their number. It waits only if they do not fit into the
    /// buffer, or are as long as all of it.
    ///
    /// # Errors
    ///
    /// Errors of the writer, perhaps about earlier bytes. The buffer keeps the bytes that were not
    /// written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes none of `bytes`, unless a file is writing them already.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut writer = trefoil::io::BufWriter::new(near);
    /// assert_eq!(trefoil::run(writer.write(b"abc"))?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await
    }

    /// Takes all of `bytes`. They are written when the buffer has no room, or by
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: how much was taken is not known.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut writer = trefoil::io::BufWriter::new(near);
    /// trefoil::run(writer.write_all(b"abc"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        read_write::write_pieces(self, bytes).await
    }

    /// Writes the buffer, and flushes the writer.
    ///
    /// # Errors
    ///
    /// Errors of the writer. The buffer keeps the bytes that were not written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the next flush continues where this one was.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut writer = trefoil::io::BufWriter::new(near);
    /// trefoil::run(async {
    ///     writer.write_all(b"abc").await?;
    ///     writer.flush().await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn flush(&mut self) -> io::Result<()> {
        read_write::flush(self).await
    }

    /// Writes the buffer, and half-closes a socket: its peer reads the end of the stream. (What is
    /// not a socket, such as a child's input, is closed by dropping this.)
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use trefoil::io::{BufWriter, UnixStream};
    ///
    /// let (near, far) = UnixStream::pair()?;
    /// let mut writer = BufWriter::new(near);
    /// let mut text = String::new();
    /// trefoil::run(async {
    ///     writer.write_all(b"abc").await?;
    ///     writer.close().await?;
    ///     far.read_to_string(&mut text).await
    /// })?;
    /// assert_eq!(text, "abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_close(cx)).await
    }

    /// Ready when the buffer is written and empty.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for BufWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() + bytes.len() > self.capacity {
            ready!(self.poll_empty(cx))?;
        }
        if bytes.len() >= self.capacity {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

debug!(impl<W: std::fmt::Debug> BufWriter<W>, self,
    inner = self.inner, buffered = self.buffer().len());
