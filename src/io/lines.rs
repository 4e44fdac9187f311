//! The lines of a reader.
//!
//! The bytes of an incomplete line, and how far they were searched, stay in the reader's buffer: a
//! line that comes in many small pieces is searched once.
//!
//! Tests: `tests/io/buffered.rs`.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::AsyncRead;

use super::buf_reader::BufReader;
use super::read_write::text;

/// The lines of a reader, one by one; also a `Stream`. Made by [`BufReader::lines`] and
/// [`Stdin::lines`](super::Stdin::lines).
///
/// ```
/// use trefoil::io::{BufReader, Command};
///
/// trefoil::run(async {
///     let mut command = Command::new("printf");
///     let mut child = command.arg("one\r\ntwo").stdout(std::process::Stdio::piped()).spawn()?;
///     let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
///     assert_eq!(lines.next().await.unwrap()?, "one");
///     assert_eq!(lines.next().await.unwrap()?, "two");
///     assert!(lines.next().await.is_none());
///     child.wait().await
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it reads nothing until it is asked for a line"]
pub struct Lines<R> {
    reader: BufReader<R>,
    max_len: usize,
}

impl<R: AsyncRead + Unpin> BufReader<R> {
    /// Yields the lines, one by one, without their ends (`\n` or `\r\n`).
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"one\ntwo\n").await?;
    ///     drop(far);
    ///     let mut lines = BufReader::new(near).lines();
    ///     while let Some(line) = lines.next().await {
    ///         assert_eq!(line?.len(), 3);
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lines(self) -> Lines<R> {
        Lines {
            reader: self,
            max_len: usize::MAX,
        }
    }
}

impl<R> Lines<R> {
    /// Sets a limit to the length of a line in bytes, without its end, for input that is not
    /// trusted. A longer line is an error (`InvalidData`), and nothing more is read: each later
    /// call returns that error, too. Without this, a line uses as much memory as it is long.
    ///
    /// (A limit for [`BufReader::read_until`] is `take` of the crate `futures`.)
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"short\nlonger than that").await?;
    ///     let mut lines = BufReader::new(near).lines().max_len(5);
    ///     assert_eq!(lines.next_line().await?.as_deref(), Some("short"));
    ///     let error = lines.next_line().await.unwrap_err(); // although `far` is still open
    ///     assert_eq!(error.to_string(), "a line is longer than 5 bytes");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn max_len(mut self, bytes: usize) -> Self {
        self.max_len = bytes;
        self
    }

    /// Returns the reader, whose next byte begins the next line.
    ///
    /// ```
    /// use trefoil::io::{BufReader, UnixStream};
    ///
    /// trefoil::run(async {
    ///     let (near, far) = UnixStream::pair()?;
    ///     far.write_all(b"head\n\nbody").await?;
    ///     let mut lines = BufReader::new(near).lines();
    ///     while lines.next().await.transpose()?.is_some_and(|line| !line.is_empty()) {}
    ///     assert_eq!(lines.into_inner().buffer(), b"body");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> BufReader<R> {
        self.reader
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The next line, without its end; `None` after the last. A line uses as much memory as it is
    /// long: for input that is not trusted, set a [`max_len`](Self::max_len).
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8; the next call returns the next line. The same kind if it
    /// is longer than `max_len`. Errors of the reader.
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
    ///     far.write_all(b"one\n").await?;
    ///     assert_eq!(BufReader::new(near).lines().next().await.unwrap()?, "one");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn next(&mut self) -> Option<io::Result<String>> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    /// Waits for the next line, as [`next`](Self::next) does, with tokio's return type, for use
    /// with `?`.
    ///
    /// # Errors
    ///
    /// Those of `next`.
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
    ///     far.write_all(b"one\ntwo\n").await?;
    ///     drop(far);
    ///     let mut lines = BufReader::new(near).lines();
    ///     while let Some(line) = lines.next_line().await? {
    ///         assert_eq!(line.len(), 3);
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        self.next().await.transpose()
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<String>>> {
        // (The end of a line may have two bytes.)
        let most = self.max_len.saturating_add(2);
        let count = ready!(self.reader.poll_find(cx, b'\n', most))?;
        if count == 0 {
            return Poll::Ready(None);
        }
        let line = &self.reader.buffer()[..count];
        let line = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        if line.len() > self.max_len {
            let what = format!("a line is longer than {} bytes", self.max_len);
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, what))));
        }
        let line = line.to_vec();
        self.reader.consume(count);
        Poll::Ready(Some(text(line)))
    }
}

impl<R: AsyncRead + Unpin> Stream for Lines<R> {
    type Item = io::Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_line(cx)
    }
}
