//! Any descriptor, waited for on the loop.
//!
//! 1. [`AsyncFd::readable`] asks the kernel whether a read would block, and waits if it would (see
//!    `readiness`).
//! 2. Foreign code may close its descriptor while it is watched, and no edge would ever follow: so
//!    before a wait the kernel is asked whether it is still open.
//! 3. The descriptor may stay open when the `AsyncFd` is dropped, so it is deregistered at once, on
//!    any thread.
//!
//! Rejected: to make the descriptor non-blocking. The flag belongs to the open file,
//! which other processes may share (a terminal, say).
//!
//! Checked by `tests/io/`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, fcntl_getfd};

use super::readiness::closed;
use super::source::Source;
use crate::event_loop::Direction;

/// Any descriptor that the system can wait for: a pipe, a device, a `timerfd`, another
/// crate's socket.
///
/// It only waits; read and write with the calls that suit the descriptor. `T` owns or borrows it:
/// an `OwnedFd`, a `std` type, a `BorrowedFd`, a reference. Neither its flags nor anything else
/// about it is changed, and dropping the `AsyncFd` closes it only if dropping `T` does.
///
/// It belongs to the loop of its first use. One loop watches a descriptor once: a second `AsyncFd`
/// of the same number on the same loop is an error (`AlreadyExists`) when it would have to wait. A
/// duplicate of the descriptor counts as another one.
///
/// ```
/// use std::io::{Read, Write, pipe};
/// use trefoil::io::AsyncFd;
///
/// trefoil::run(async {
///     let (reader, mut writer) = pipe()?;
///     let reader = AsyncFd::new(reader)?;
///     trefoil::spawn(async move { writer.write_all(b"x") }).detach();
///     reader.readable().await?;
///     let mut byte = [0];
///     reader.get_ref().read_exact(&mut byte)?;
///     assert_eq!(&byte, b"x");
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AsyncFd<T: AsFd> {
    source: Source<T>,
}

impl<T: AsFd> AsyncFd<T> {
    /// Wraps a descriptor. This asks the system for its kind, and does nothing else yet.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a regular file or a directory: these never block and cannot be
    /// waited for; see [`fs`](super::fs). `InvalidInput` if the descriptor is closed.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use trefoil::io::AsyncFd;
    ///
    /// AsyncFd::new(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// let file = std::fs::File::open(std::env::current_exe()?)?;
    /// assert_eq!(AsyncFd::new(file).unwrap_err().kind(), ErrorKind::Unsupported);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(inner: T) -> io::Result<Self> {
        let fd = inner.as_fd();
        let number = fd.as_raw_fd();
        let kind = match fstat(fd) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::BADF) => return Err(closed(number)),
            Err(error) => return Err(error.into()),
        };
        if matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "descriptor {number} is a {}, which the system does not wait for: it never \
                     blocks; read it off the loop, with trefoil::io::fs",
                    if kind == FileType::Directory {
                        "directory"
                    } else {
                        "regular file"
                    }
                ),
            ));
        }
        Ok(Self {
            source: Source::new(inner),
        })
    }

    /// Waits until a read would not block: there is data, or the end, or a pending error. It
    /// completes each time while that is the case.
    ///
    /// Other code may read it first: set the descriptor non-blocking where that
    /// can happen.
    ///
    /// # Errors
    ///
    /// Off its loop; `AlreadyExists` if the loop watches this descriptor already; `Unsupported` if
    /// the system cannot wait for it; `InvalidInput` if it is closed. (If it is closed during a
    /// wait, that wait does not notice, because the system forgets it silently. The next one does.)
    ///
    /// # Cancel safety
    ///
    /// Nothing is read, so nothing is lost.
    ///
    /// ```
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let (reader, writer) = std::io::pipe()?;
    ///     drop(writer);
    ///     let reader = AsyncFd::new(reader)?;
    ///     reader.readable().await?; // the end
    ///     reader.readable().await?; // is still there
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Direction::Read).await
    }

    /// Waits until a write would not block: there is room, or the other end is closed, or there is
    /// a pending error. It completes each time while that is the case.
    ///
    /// The system decides for how much there must be room: a pipe guarantees `PIPE_BUF` bytes, and
    /// a larger write to a blocking descriptor may still wait.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Nothing is written, so nothing is lost.
    ///
    /// ```
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let (_reader, writer) = std::io::pipe()?;
    ///     AsyncFd::new(writer)?.writable().await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Direction::Write).await
    }

    /// [`readable`](Self::readable) for a future written by hand; the latest caller is
    /// woken.
    ///
    /// # Errors
    ///
    /// As `readable`.
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let (reader, writer) = std::io::pipe()?;
    ///     drop(writer);
    ///     let reader = AsyncFd::new(reader)?;
    ///     poll_fn(|cx| reader.poll_readable(cx)).await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(cx, Direction::Read)
    }

    /// [`writable`](Self::writable) for a future written by hand; the latest caller is
    /// woken.
    ///
    /// # Errors
    ///
    /// As `writable`.
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let (_reader, writer) = std::io::pipe()?;
    ///     let writer = AsyncFd::new(writer)?;
    ///     poll_fn(|cx| writer.poll_writable(cx)).await
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_ready(cx, Direction::Write)
    }

    /// Calls `op` until it does not say `WouldBlock`, and waits to be readable in between. The
    /// descriptor must be non-blocking, or `op` itself will wait.
    ///
    /// # Errors
    ///
    /// Those of `op`, except `WouldBlock` and `Interrupted`; those of
    /// [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// `op` is called within a poll: a future that is dropped has not called it, or not with
    /// success.
    ///
    /// ```
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    ///     socket.set_nonblocking(true)?;
    ///     socket.send_to(b"to itself", socket.local_addr()?)?;
    ///     let socket = AsyncFd::new(socket)?;
    ///     let mut buffer = [0; 16];
    ///     let count = socket.read_with(|socket| socket.recv(&mut buffer)).await?;
    ///     assert_eq!(&buffer[..count], b"to itself");
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.reading(op).await
    }

    /// Calls `op` until it does not say `WouldBlock`, and waits to be writable in between. The
    /// descriptor must be non-blocking, or `op` itself will wait.
    ///
    /// # Errors
    ///
    /// Those of `op`, except `WouldBlock` and `Interrupted`; those of
    /// [`writable`](Self::writable).
    ///
    /// # Cancel safety
    ///
    /// As [`read_with`](Self::read_with).
    ///
    /// ```
    /// use trefoil::io::AsyncFd;
    ///
    /// trefoil::run(async {
    ///     let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    ///     socket.set_nonblocking(true)?;
    ///     let here = socket.local_addr()?;
    ///     let socket = AsyncFd::new(socket)?;
    ///     assert_eq!(socket.write_with(|socket| socket.send_to(b"abc", here)).await?, 3);
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn write_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.source.writing(op).await
    }

    async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.refuse_closed()?;
        self.source.ready(direction).await
    }

    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        self.refuse_closed()?;
        self.source.poll_ready(cx, direction)
    }

    /// Before a wait on a descriptor that the loop may already watch: if it has been closed
    /// meanwhile, the kernel has forgotten it silently.
    fn refuse_closed(&self) -> io::Result<()> {
        if !self.source.is_watched() {
            return Ok(()); // the first question will say so
        }
        let fd = self.as_fd();
        match fcntl_getfd(fd) {
            Err(Errno::BADF) => Err(closed(fd.as_raw_fd())),
            _ => Ok(()),
        }
    }

    /// What is inside.
    ///
    /// ```
    /// # let (reader, _writer) = std::io::pipe()?;
    /// let fd = trefoil::io::AsyncFd::new(&reader)?;
    /// assert!(std::ptr::eq(*fd.get_ref(), &reader));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_ref(&self) -> &T {
        self.source.get_ref()
    }

    /// The wrapped value. It must keep its descriptor.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// # let (reader, _) = std::io::pipe()?;
    /// let mut fd = trefoil::io::AsyncFd::new(reader)?;
    /// assert_eq!(fd.get_mut().read(&mut [0])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.source.get_mut()
    }

    /// Returns the wrapped value; no loop watches it any longer.
    ///
    /// ```
    /// # let (reader, _writer) = std::io::pipe()?;
    /// let fd = trefoil::io::AsyncFd::new(reader)?;
    /// let reader: std::io::PipeReader = fd.into_inner();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn into_inner(self) -> T {
        self.source.into_inner()
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
