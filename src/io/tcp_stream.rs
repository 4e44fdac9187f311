//! A TCP connection.
//!
//! Everything here is one system call in an [`Outcome`]: what was read or written,
//! and whether that was less than it might have been. The source does the waiting. So
//! each method exists once, and the futures-io traits are the same calls again under
//! other names.
//!
//! A count says nothing where the system itself stopped short of the request: with
//! more slices than it takes at once (see `wanted`).
//!
//! Checked by `tests/event_loop/`.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::lookup::{ToSocketAddrs, lookup_host};
use super::source::{Outcome, Source};
use super::tcp_listener::no_address;
use crate::event_loop::Direction::{Read as Reading, Write as Writing};

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. For code
/// written against the futures-io traits, both `TcpStream` and `&TcpStream` implement
/// `AsyncRead` and `AsyncWrite`.
///
/// ```
/// use trefoil::io::{TcpListener, TcpStream};
///
/// trefoil::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///
///     client.write_all(b"ping").await?;
///     let mut question = [0; 4];
///     server.read_exact(&mut question).await?;
///     assert_eq!(&question, b"ping");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpStream {
    source: Source<mio::net::TcpStream>,
}

/// `read_to_end` asks for at least as many bytes at once.
const CHUNK: usize = 8 * 1024;
/// And for at most as many.
const MOST: usize = 128 * 1024;

impl TcpStream {
    pub(super) fn from_mio(stream: mio::net::TcpStream) -> Self {
        Self {
            source: Source::new(stream),
        }
    }

    /// Connects to the first of `address`'s addresses that answers.
    ///
    /// A name is looked up off the loop; numbers need no thread. Addresses are
    /// tried one after another, each until the system gives up: put
    /// [`timeout`](crate::timeout) around it to give up earlier.
    ///
    /// # Errors
    ///
    /// The last address's, if none answers; those of [`lookup_host`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was begun.
    ///
    /// ```
    /// use trefoil::io::{TcpListener, TcpStream};
    ///
    /// trefoil::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let address = listener.local_addr()?;
    ///     let stream = TcpStream::connect(address).await?;
    ///     assert_eq!(stream.peer_addr()?, address);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn connect<A: ToSocketAddrs>(address: A) -> io::Result<Self> {
        let mut refused = None;
        for address in lookup_host(address).await? {
            match Self::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(no_address))
    }

    async fn connect_to(address: SocketAddr) -> io::Result<Self> {
        let stream = Self::from_mio(mio::net::TcpStream::connect(address)?);
        stream
            .source
            .operate(Writing, |socket| match socket.peer_addr() {
                Ok(_) => Ok(Outcome::Full(())),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    // It has failed, or it goes on.
                    let failed = socket.take_error()?;
                    Err(failed.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
                }
                Err(error) => Err(error),
            })
            .await?;
        Ok(stream)
    }

    /// Reads what has arrived, at least one byte; 0 at the end of the stream. An empty
    /// buffer is full at once.
    ///
    /// # Errors
    ///
    /// The system's; above all, the peer has reset the connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"abc").await?;
    /// let mut buffer = [0; 1024];
    /// let count = stream.read(&mut buffer).await?;
    /// assert_eq!(&buffer[..count], b"abc");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return self.source.nothing();
        }
        self.source
            .operate(Reading, |mut socket| {
                let count = socket.read(buffer)?;
                Ok(Outcome::of(buffer.len(), count))
            })
            .await
    }

    /// As [`read`](Self::read), but leaves the bytes where they are.
    ///
    /// # Errors
    ///
    /// As `read`.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"abc").await?;
    /// let mut buffer = [0; 1];
    /// stream.peek(&mut buffer).await?;
    /// stream.peek(&mut buffer).await?;
    /// assert_eq!(&buffer, b"a");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return self.source.nothing();
        }
        self.source
            .operate(Reading, |socket| socket.peek(buffer).map(Outcome::Full))
            .await
    }

    /// Fills the buffer.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the stream ends first; those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// None: what has been read is in the buffer, but nobody knows how much it is.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"abcdef").await?;
    /// let mut header = [0; 4];
    /// stream.read_exact(&mut header).await?;
    /// assert_eq!(&header, b"abcd");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Appends everything up to the end of the stream; gives the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// What has been read is in `bytes`.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"abcdef").await?; drop(server);
    /// let mut bytes = Vec::new();
    /// assert_eq!(stream.read_to_end(&mut bytes).await?, 6);
    /// assert_eq!(bytes, b"abcdef");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_end(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let start = bytes.len();
        loop {
            let count = self
                .source
                .operate(Reading, |mut socket| {
                    let filled = bytes.len();
                    // As much again as there is, within reason.
                    let room = (filled - start).clamp(CHUNK, MOST);
                    bytes.resize(filled + room, 0);
                    let result = socket.read(&mut bytes[filled..]);
                    bytes.truncate(filled + *result.as_ref().unwrap_or(&0));
                    Ok(Outcome::of(room, result?))
                })
                .await?;
            if count == 0 {
                return Ok(bytes.len() - start);
            }
        }
    }

    /// As [`read_to_end`](Self::read_to_end), for text.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8, and nothing is appended then; those of
    /// [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// None: what has been read is lost.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all("größer".as_bytes()).await?; drop(server);
    /// let mut text = String::new();
    /// stream.read_to_string(&mut text).await?;
    /// assert_eq!(text, "größer");
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_string(&self, text: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        let count = self.read_to_end(&mut bytes).await?;
        let read = String::from_utf8(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        text.push_str(&read);
        Ok(count)
    }

    /// Writes some of `bytes`; gives the number that the system took. Waits while it
    /// takes none, unless there are none.
    ///
    /// # Errors
    ///
    /// The system's; above all, the peer has closed (`BrokenPipe`) or reset.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future writes nothing.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let written = stream.write(b"abc").await?;
    /// assert!(written > 0);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return self.source.nothing();
        }
        self.source
            .operate(Writing, |mut socket| {
                let count = socket.write(bytes)?;
                Ok(Outcome::of(bytes.len(), count))
            })
            .await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// None: nobody knows how much was written.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Does nothing: written bytes are the system's already. So code reads the same
    /// over a stream with a buffer of its own.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.write_all(b"abc").await?;
    /// stream.flush().await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    /// Closes one direction, or both. After `Shutdown::Write` the peer reads the end
    /// of the stream. Does not block.
    ///
    /// # Errors
    ///
    /// The system's; above all, `NotConnected`.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// use std::net::Shutdown;
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// stream.shutdown(Shutdown::Write)?;
    /// assert_eq!(server.read(&mut [0; 8]).await?, 0);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.get_ref().shutdown(how)
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// The system's; above all, the connection was reset.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().peer_addr()
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(stream.local_addr()?.ip().is_loopback());
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr()
    }

    /// Whether small writes are sent at once (`true`) or gathered (`false`, as
    /// the system begins).
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.source.get_ref().set_nodelay(nodelay)
    }

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// ```
    /// # use trefoil::io::{TcpListener, TcpStream};
    /// # trefoil::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert!(!stream.nodelay()?);
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.source.get_ref().nodelay()
    }
}

/// How many bytes the system surely tries to move. It takes only so many buffers at
/// once (16 everywhere), and a count that ended there says nothing.
fn wanted(lengths: impl ExactSizeIterator<Item = usize>) -> usize {
    if lengths.len() <= 16 {
        lengths.sum()
    } else {
        0
    }
}

impl AsyncRead for &TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(self.source.nothing());
        }
        self.source.poll(cx, Reading, |mut socket| {
            let count = socket.read(buffer)?;
            Ok(Outcome::of(buffer.len(), count))
        })
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(self.source.nothing());
        }
        let wanted = wanted(buffers.iter().map(|buffer| buffer.len()));
        self.source.poll(cx, Reading, |mut socket| {
            let count = socket.read_vectored(buffers)?;
            Ok(Outcome::of(wanted, count))
        })
    }
}

impl AsyncWrite for &TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(self.source.nothing());
        }
        self.source.poll(cx, Writing, |mut socket| {
            let count = socket.write(bytes)?;
            Ok(Outcome::of(bytes.len(), count))
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(self.source.nothing());
        }
        let wanted = wanted(slices.iter().map(|slice| slice.len()));
        self.source.poll(cx, Writing, |mut socket| {
            let count = socket.write_vectored(slices)?;
            Ok(Outcome::of(wanted, count))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Written bytes are the system's already.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        })
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_read_vectored(cx, buffers)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_close(cx)
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.source.get_ref().as_raw_fd()
    }
}
