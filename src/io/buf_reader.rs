//! A buffered reader.
//!
//! If the buffer is full and its last line is incomplete, the line moves to the front, and the
//! buffer grows until a whole read fits after it. The bytes of an incomplete line, and how far
//! they were searched, are stored here and not in the future that waits for the rest, so dropping
//! that future loses nothing. When all bytes have been taken, the buffer shrinks to its original
//! length.
//!
//! Rejected: `futures-lite`'s reader. Its `read_line` loses what it has read when it is dropped,
//! and its methods need an import.
//!
//! Tests: `tests/io/buffered.rs`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead};

use super::read_write::{self, append};

/// The default length of a buffer.
pub(super) const CAPACITY: usize = 8 * 1024;

/// A buffered reader: reads large pieces, and returns small ones and lines.
///
/// It works with any futures-io reader, also those of other crates; wrap one that is not `Unpin` in
/// `Box::pin`. Meanwhile a stream of this crate can be written to through
/// [`get_ref`](Self::get_ref). Dropping the `BufReader`, or [`into_inner`](Self::into_inner), loses
/// buffered bytes.
///
/// ```
/// use trefoil::io::{BufReader, UnixStream};
///
/// trefoil::run(async {
///     let (near, far) = UnixStream::pair()?;
///     far.write_all(b"GET /\nbody").await?;
///     let mut reader = BufReader::new(near);
///     let mut line = String::new();
///     reader.read_line(&mut line).await?;
///     assert_eq!(line, "GET /\n");
///     let mut body = [0; 4];
///     reader.read_exact(&mut body).await?;
///     assert_eq!(&body, b"body");
///     reader.get_ref().write_all(b"an answer").await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct BufReader<R> {
    inner: R,
    /// The buffer, fully initialised. The bytes from `start` to `end` were read and not taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
    /// The first bytes of `buffer()`, up to this number, do not contain this byte. An abandoned
    /// search continues after them.
    searched: Option<(u8, usize)>,
}

impl<R> BufReader<R> {
    /// Wraps `inner` with a buffer of 8 KiB, which the first read allocates.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let reader = trefoil::io::BufReader::new(near);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(inner: R) -> Self {
        Self::with_capacity(CAPACITY, inner)
    }

    /// Wraps `inner` with a buffer of `capacity` bytes, at least one.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let reader = trefoil::io::BufReader::with_capacity(64 * 1024, near);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_capacity(capacity: usize, inner: R) -> Self {
        Self {
            inner,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            capacity: capacity.max(1),
            searched: None,
        }
    }

    /// The bytes that were read and not taken. Does not read.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// assert!(trefoil::io::BufReader::new(near).buffer().is_empty());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes the first `count` bytes of [`buffer`](Self::buffer), all of them if there are fewer.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     let mut reader = BufReader::new(near);
    ///     assert_eq!(reader.fill_buf().await?, b"abc");
    ///     reader.consume(2);
    ///     assert_eq!(reader.buffer(), b"c");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn consume(&mut self, count: usize) {
        self.searched = None;
        self.start = self.end.min(self.start.saturating_add(count));
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > self.capacity {
                self.buffer.truncate(self.capacity);
                self.buffer.shrink_to_fit();
            }
        }
    }

    /// The wrapped reader.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let reader = trefoil::io::BufReader::new(near);
    /// assert!(reader.get_ref().peer_addr()?.is_unnamed());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The wrapped reader. Bytes that are read from it directly come after the buffer. To move a
    /// file's position, seek in the file (a relative seek counts from the end of the buffer), then
    /// [`consume`](Self::consume) the buffer.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let mut reader = trefoil::io::BufReader::new(near);
    /// let stream: &mut trefoil::io::UnixStream = reader.get_mut();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The wrapped reader; the [`buffer`](Self::buffer) is lost.
    ///
    /// ```
    /// let (near, _far) = trefoil::io::UnixStream::pair()?;
    /// let near = trefoil::io::BufReader::new(near).into_inner();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Takes this many buffered bytes.
    pub(super) fn read_out(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer()[..count].to_vec();
        self.consume(count);
        taken
    }
}

impl<R: AsyncRead + Unpin> BufReader<R> {
    /// Reads at least one byte; 0 at the end. An empty buffer is full at once.
    ///
    /// # Errors
    ///
    /// Errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing, if that holds for the reader, as it does for all of this
    /// crate.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     assert_eq!(BufReader::new(near).read(&mut [0; 2]).await?, 2);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_write::read(self, buffer).await
    }

    /// Reads until the buffer is full.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the end comes first; errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what has been read is in the buffer, but how much is not known.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     BufReader::new(near).read_exact(&mut [0; 3]).await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        read_write::read_exact(self, buffer).await
    }

    /// Appends everything up to the end; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// What has been read is in `bytes`.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     drop(far);
    ///     let mut bytes = Vec::new();
    ///     assert_eq!(BufReader::new(near).read_to_end(&mut bytes).await?, 3);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        read_write::read_to_end(self, bytes).await
    }

    /// Reads to the end, as text: see [`read_to_end`](Self::read_to_end).
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8, and nothing is appended then; errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what has been read is lost.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     drop(far);
    ///     let mut text = String::new();
    ///     BufReader::new(near).read_to_string(&mut text).await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        read_write::read_to_string(self, text).await
    }

    /// The buffer's contents. If it was empty, this reads once; at the end it stays empty. The
    /// bytes stay until [`consume`](Self::consume) removes them.
    ///
    /// # Errors
    ///
    /// Errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"abc").await?;
    ///     let mut reader = BufReader::new(near);
    ///     let count = reader.fill_buf().await?.len();
    ///     reader.consume(count);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        poll_fn(|cx| self.poll_filled(cx)).await?;
        Ok(self.buffer())
    }

    /// Appends everything up to and including the next `delimiter`, or up to the end; returns the
    /// number of bytes, 0 at the end.
    ///
    /// It uses as much memory as the piece is long. For untrusted input, set a limit: with
    /// [`Lines::max_len`](super::Lines::max_len), or with `take` of the crate `futures`
    /// (`AsyncReadExt`), which wraps this reader or a reference to it.
    ///
    /// # Errors
    ///
    /// Errors of the reader; then nothing is appended, and nothing is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what has been read stays in the buffer.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"one\0two\0").await?;
    ///     let mut name = Vec::new();
    ///     assert_eq!(BufReader::new(near).read_until(0, &mut name).await?, 4);
    ///     assert_eq!(name, b"one\0");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_until(&mut self, delimiter: u8, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let count = self.find(delimiter).await?;
        bytes.extend_from_slice(&self.buffer()[..count]);
        self.consume(count);
        Ok(count)
    }

    /// Appends the next line with its end; returns its length in bytes, 0 at the end. For many
    /// lines, without their ends: [`lines`](Self::lines).
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8: nothing is appended then, and the next call returns the
    /// next line. Errors of the reader.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what has been read stays in the buffer.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"one\ntwo").await?;
    ///     drop(far);
    ///     let mut reader = BufReader::new(near);
    ///     let mut text = String::new();
    ///     while reader.read_line(&mut text).await? > 0 {}
    ///     assert_eq!(text, "one\ntwo");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        let count = self.find(b'\n').await?;
        append(line, self.read_out(count))
    }

    async fn find(&mut self, delimiter: u8) -> io::Result<usize> {
        poll_fn(|cx| self.poll_find(cx, delimiter, usize::MAX)).await
    }

    /// The number of bytes up to and including the next `delimiter`, or up to the end. They are
    /// then in the buffer. Or the number of bytes in the buffer, if there is no `delimiter` in them
    /// and they are `most` or more: no more are read then.
    pub(super) fn poll_find(
        &mut self,
        cx: &mut Context<'_>,
        delimiter: u8,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut searched = match self.searched {
            Some((byte, count)) if byte == delimiter => count,
            _ => 0,
        };
        loop {
            let mut unsearched = self.buffer()[searched..].iter();
            if let Some(at) = unsearched.position(|byte| *byte == delimiter) {
                return Poll::Ready(Ok(searched + at + 1));
            }
            searched = self.buffer().len();
            self.searched = Some((delimiter, searched));
            if searched >= most || ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(searched));
            }
        }
    }

    /// Ready when the buffer is not empty, or the end has come.
    fn poll_filled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.start == self.end {
            ready!(self.poll_more(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, after the buffered bytes, and makes room if needed; returns the number of
    /// bytes.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            // The buffer grows by half, so that bytes of a long line are seldom moved.
            let room = self.capacity.max(self.end / 2);
            self.buffer
                .resize(self.buffer.len().max(self.end + room), 0);
        }
        let room = &mut self.buffer[self.end..];
        let count = ready!(Pin::new(&mut self.inner).poll_read(cx, room))?;
        assert!(
            count <= room.len(),
            "a reader read more than there was room for"
        );
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BufReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer().is_empty() && buffer.len() >= self.capacity {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        if !buffer.is_empty() {
            ready!(self.poll_filled(cx))?;
        }
        let count = io::Read::read(&mut self.buffer(), buffer)?;
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for BufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_filled(cx))?;
        Poll::Ready(Ok(this.buffer()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().consume(count);
    }
}

debug!(impl<R: std::fmt::Debug> BufReader<R>, self,
    inner = self.inner, buffered = self.buffer().len());
