//! Reads and writes bytes, in one implementation for all streams.
//!
//! A stream is an [`IoSource`] of a descriptor of [`ByteDescriptor`]: a socket, the end of a pipe.
//! The functions here are one system call each with a [`Completed`] (the count, and whether it was
//! short), or loops over those; the source does the waiting.
//!
//! A short read of a TCP connection means that the next one would block (`epoll(7)`, question 9),
//! which saves that call; [`ByteDescriptor::DRAINS`] says for which descriptors. A Unix socket
//! stops at a message that carries descriptors, a terminal at the end of a line, a pipe at the end
//! of a packet if its writer wants that; there the next call is made in the loop's next turn. A
//! short write means for all of them that there is no room. Of a list of slices, the system gets as
//! many as it takes at once, without the empty ones in front: a call with empty slices only would
//! return 0, which looks like the end.
//!
//! hyper and tokio give their readers uninitialised memory. Filling it with zeros first costs as
//! much as a copy of the data that could arrive. The system can write into such memory, and rustix
//! returns the written part as bytes.
//!
//! - **I1** `poll_read_uninit` returns a count only after the system has written that many bytes to
//!   the front of the buffer.
//!
//! The macros write the public methods and the futures-io traits of a stream. These differ only in
//! the type.
//!
//! Tests: `tests/io/transfer.rs::{many_bytes_both_ways_at_once,
//! the_futures_io_traits_vectored_too}`, `tests/trefoil-adapters/tests/connections/tokio_io.rs`.

use std::io::{self, IoSlice, IoSliceMut};
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
use std::mem::MaybeUninit;
use std::task::{Context, Poll};

use rustix::buffer::{Buffer, spare_capacity};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use super::read_write::append;
use super::source::{Completed, IoSource};
use crate::event_loop::Direction;
use crate::sys::transfer;

/// A descriptor through which bytes are read or written.
pub(crate) trait ByteDescriptor: AsFd {
    /// Whether a short read leaves nothing behind.
    const DRAINS: bool = false;

    /// Whether the descriptor is a socket. A call on a socket can ask not to wait, whatever the
    /// flags of its open file, and to raise no `SIGPIPE`, which may end the process. Other
    /// descriptors must be non-blocking.
    fn is_socket(&self) -> bool {
        true
    }
}

/// A source that bytes are read from and written to.
pub(crate) trait ByteStream {
    type Io: ByteDescriptor;

    fn source(&self) -> &IoSource<Self::Io>;
}

/// The system takes this many slices in one call, and `sendmsg` refuses more (`UIO_MAXIOV`).
const SLICES: usize = 1024;

/// `read_to_end` asks for at least this many bytes at once.
const CHUNK: usize = 8 * 1024;

/// Reads, in one system call.
#[inline]
fn receive<T: ByteDescriptor, B: Buffer<u8>>(io: &T, buffer: B) -> rustix::io::Result<B::Output> {
    transfer::receive(io.as_fd(), io.is_socket(), buffer)
}

/// A closure that reads into these buffers; `None`: they have no room.
fn reading<T: ByteDescriptor>(
    buffers: &mut [IoSliceMut<'_>],
) -> Option<impl FnMut(&T) -> io::Result<Completed<usize>>> {
    let first = buffers.iter().position(|buffer| !buffer.is_empty())?;
    let most = buffers.len().min(first + SLICES);
    let buffers = &mut buffers[first..most];
    let wanted = buffers.iter().map(|buffer| buffer.len()).sum();
    Some(move |io: &T| {
        let count = match &mut *buffers {
            [buffer] => receive(io, &mut **buffer)?,
            several => transfer::receive_several(io.as_fd(), several)?,
        };
        Ok(Completed::of(wanted, count, T::DRAINS))
    })
}

/// A closure that writes these slices; `None`: they are empty.
fn writing<T: ByteDescriptor>(
    slices: &[IoSlice<'_>],
) -> Option<impl FnMut(&T) -> io::Result<Completed<usize>>> {
    let first = slices.iter().position(|slice| !slice.is_empty())?;
    let slices = &slices[first..slices.len().min(first + SLICES)];
    let wanted = slices.iter().map(|slice| slice.len()).sum();
    Some(move |io: &T| {
        let count = transfer::transmit(io.as_fd(), io.is_socket(), slices)?;
        Ok(Completed::of(wanted, count, true))
    })
}

/// Makes the peer read the end of the stream. If the peer is gone, the error is ignored.
pub(super) fn close_write(socket: impl AsFd) -> io::Result<()> {
    match shutdown(socket, Shutdown::Write) {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl<T: ByteDescriptor> IoSource<T> {
    pub(super) async fn read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match reading(buffers) {
            Some(op) => self.operate(Direction::Read, op).await,
            None => self.nothing(),
        }
    }

    pub(super) async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .read(&mut [IoSliceMut::new(&mut buffer[filled..])])
                .await?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(())
    }

    pub(super) async fn read_to_end(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let start = bytes.len();
        loop {
            let more = self.operate(Direction::Read, |io| {
                bytes.reserve(CHUNK);
                let room = bytes.capacity() - bytes.len();
                let count = receive(io, spare_capacity(bytes))?;
                Ok(Completed::of(room, count, T::DRAINS))
            });
            if more.await? == 0 {
                return Ok(bytes.len() - start);
            }
        }
    }

    pub(super) async fn read_to_string(&self, text: &mut String) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).await?;
        append(text, bytes)
    }

    /// Reads without waiting.
    pub(super) fn try_read(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match reading(buffers) {
            Some(mut op) => op(self.get_ref()).map(Completed::value),
            None => Ok(0),
        }
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match reading(buffers) {
            Some(op) => self.poll(cx, Direction::Read, op),
            None => Poll::Ready(self.nothing()),
        }
    }

    /// Like `poll_read`, for memory that may not be initialised (I1).
    #[cfg(any(feature = "hyper", feature = "tokio-io"))]
    #[inline]
    pub(crate) fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        if wanted == 0 {
            return Poll::Ready(self.nothing());
        }
        self.poll(cx, Direction::Read, |io| {
            let (filled, _) = receive(io, &mut *buffer)?;
            Ok(Completed::of(wanted, filled.len(), T::DRAINS))
        })
    }

    pub(super) async fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match writing(slices) {
            Some(op) => self.operate(Direction::Write, op).await,
            None => self.nothing(),
        }
    }

    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write(&[IoSlice::new(bytes)]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Writes without waiting.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match writing(slices) {
            Some(mut op) => op(self.get_ref()).map(Completed::value),
            None => Ok(0),
        }
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match writing(slices) {
            Some(op) => self.poll(cx, Direction::Write, op),
            None => Poll::Ready(self.nothing()),
        }
    }

    /// Half-closes a socket. For other descriptors, only dropping closes them.
    pub(super) fn close_write(&self) -> io::Result<()> {
        if self.get_ref().is_socket() {
            close_write(self.get_ref().as_fd())
        } else {
            Ok(())
        }
    }
}

/// The public methods of a stream that can be read, and its futures-io trait.
macro_rules! reads {
    ($type:ty) => {
        impl $type {
            /// Reads the bytes that have arrived, at least one; 0 at the end of the stream. For an
            /// empty buffer it returns at once.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, the peer has reset the connection. An error when
            /// used off its loop.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (far, stream) = trefoil::io::UnixStream::pair()?;
            /// # far.write_all(b"abcdef").await?;
            /// # drop(far);
            /// let mut buffer = [0; 1024];
            /// let count = stream.read(&mut buffer).await?;
            /// assert!(b"abcdef".starts_with(&buffer[..count]) && count > 0);
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.source().read(&mut [std::io::IoSliceMut::new(buffer)]).await
            }

            /// Reads until the buffer is full.
            ///
            /// # Errors
            ///
            /// `UnexpectedEof` if the stream ends first; those of [`read`](Self::read).
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: what has been read is in the buffer, but how much is not known.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (far, stream) = trefoil::io::UnixStream::pair()?;
            /// # far.write_all(b"abcdef").await?;
            /// # drop(far);
            /// let mut header = [0; 4];
            /// stream.read_exact(&mut header).await?;
            /// assert_eq!(&header, b"abcd");
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn read_exact(&self, buffer: &mut [u8]) -> std::io::Result<()> {
                self.source().read_exact(buffer).await
            }

            /// Appends everything up to the end of the stream; returns the number of bytes.
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
            /// # trefoil::run(async {
            /// # let (far, stream) = trefoil::io::UnixStream::pair()?;
            /// # far.write_all(b"abcdef").await?;
            /// # drop(far);
            /// let mut bytes = Vec::new();
            /// assert_eq!(stream.read_to_end(&mut bytes).await?, 6);
            /// assert_eq!(bytes, b"abcdef");
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn read_to_end(&self, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
                self.source().read_to_end(bytes).await
            }

            /// Reads to the end, as text: see [`read_to_end`](Self::read_to_end).
            ///
            /// # Errors
            ///
            /// `InvalidData` if it is not UTF-8, and nothing is appended then; those of
            /// [`read`](Self::read).
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: what has been read is lost.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (far, stream) = trefoil::io::UnixStream::pair()?;
            /// # far.write_all(b"abcdef").await?;
            /// # drop(far);
            /// let mut text = String::new();
            /// stream.read_to_string(&mut text).await?;
            /// assert_eq!(text, "abcdef");
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn read_to_string(&self, text: &mut String) -> std::io::Result<usize> {
                self.source().read_to_string(text).await
            }

            /// Reads the bytes that have arrived, and does not wait for more; 0 at the end of the
            /// stream. It needs no loop.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if no bytes have arrived: [`readable`](Self::readable) waits for some.
            /// Errors of the system.
            ///
            /// ```
            /// use std::io::ErrorKind;
            ///
            /// let (near, far) = trefoil::io::UnixStream::pair()?;
            /// assert_eq!(near.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
            /// far.try_write(b"abc")?;
            /// assert_eq!(near.try_read(&mut [0; 8])?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn try_read(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
                self.source().try_read(&mut [std::io::IoSliceMut::new(buffer)])
            }
        }

        $crate::io::readiness::readable!($type);
        $crate::io::byte_stream::reads!(@trait $type);
    };
    (@trait $type:ty) => {
        impl futures_io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source().poll_read(cx, &mut [std::io::IoSliceMut::new(buffer)])
            }

            fn poll_read_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffers: &mut [std::io::IoSliceMut<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source().poll_read(cx, buffers)
            }
        }
    };
}
pub(super) use reads;

/// The public methods of a stream that can be written, and its futures-io trait.
macro_rules! writes {
    ($type:ty) => {
        impl $type {
            /// Writes some of `bytes`; returns the number of bytes that the system took. Waits
            /// until it takes at least one, unless `bytes` is empty.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, the other end is closed (`BrokenPipe`). An error
            /// when used off its loop.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future writes nothing.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (stream, _far) = trefoil::io::UnixStream::pair()?;
            /// assert!(stream.write(b"abc").await? > 0);
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
                self.source().write(&[std::io::IoSlice::new(bytes)]).await
            }

            /// Writes all of `bytes`.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write).
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: how much was written is not known.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (stream, _far) = trefoil::io::UnixStream::pair()?;
            /// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn write_all(&self, bytes: &[u8]) -> std::io::Result<()> {
                self.source().write_all(bytes).await
            }

            /// Does nothing: the system already has the written bytes. It exists so that code is
            /// the same as for a buffered stream.
            ///
            /// # Errors
            ///
            /// This never fails.
            ///
            /// ```
            /// # trefoil::run(async {
            /// # let (stream, _far) = trefoil::io::UnixStream::pair()?;
            /// stream.write_all(b"abc").await?;
            /// stream.flush().await?;
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn flush(&self) -> std::io::Result<()> {
                Ok(())
            }

            /// Writes as many of `bytes` as there is room for, and does not wait for more. It needs
            /// no loop.
            ///
            /// # Errors
            ///
            /// `WouldBlock` if there is no room: [`writable`](Self::writable) waits for it. Errors
            /// of the system.
            ///
            /// ```
            /// let (near, _far) = trefoil::io::UnixStream::pair()?;
            /// assert_eq!(near.try_write(b"abc")?, 3);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn try_write(&self, bytes: &[u8]) -> std::io::Result<usize> {
                self.source().try_write(&[std::io::IoSlice::new(bytes)])
            }
        }

        $crate::io::readiness::writable!($type);
        $crate::io::byte_stream::writes!(@trait $type);
    };
    (@trait $type:ty) => {
        impl futures_io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source().poll_write(cx, &[std::io::IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                self.source().poll_write(cx, slices)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                // The system already has the written bytes.
                std::task::Poll::Ready(Ok(()))
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                std::task::Poll::Ready(self.source().close_write())
            }
        }
    };
}
pub(super) use writes;
