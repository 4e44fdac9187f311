//! Waits on the loop for any descriptor.
//!
//! 1. [`AsyncFd::readable`] asks the kernel whether a read would block, and waits if it would (see
//!    `readiness`).
//! 2. Other code may close its descriptor while it is watched, and then no edge would ever follow.
//!    So before a wait the kernel is asked whether the descriptor is still open.
//! 3. The descriptor may stay open when the `AsyncFd` is dropped, so it is deregistered at once, on
//!    any thread.
//!
//! Rejected: making the descriptor non-blocking. The flag belongs to the open file, which other
//! processes may share (a terminal, say).
//!
//! Tests: `tests/io/async_fd.rs::{a_pipe_says_so_as_long_as_it_is_so,
//! a_closed_descriptor_is_an_error_at_the_next_question}`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, fcntl_getfd};

use super::readiness::closed;
use super::source::IoSource;
use crate::event_loop::Direction;
use crate::sys::interest::watches_file;

/// Any descriptor that the system can wait for: a pipe, a device, a `timerfd`, another
/// crate's socket, a file of the kernel that reports changes.
///
/// It only waits; read and write with the calls that suit the descriptor. `T` owns or borrows it:
/// an `OwnedFd`, a `std` type, a `BorrowedFd`, a reference. An `AsyncFd` changes nothing about the
/// descriptor, its flags included, and closes it only if dropping `T` does.
///
/// It belongs to the loop of its first use. One loop watches a descriptor once: a second `AsyncFd`
/// for the same number on the same loop is an error (`AlreadyExists`) when it would have to wait. A
/// duplicate of the descriptor is another descriptor.
///
/// A device that never blocks (`/dev/null`, `/dev/zero`) is always readable and writable.
///
/// It waits for data and room only. But on Linux, an `epoll` descriptor is readable when what it
/// watches happens: urgent data, say, or a change of `/proc/self/mounts` (`EPOLLPRI`).
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
    source: IoSource<T>,
}

impl<T: AsFd> AsyncFd<T> {
    /// Wraps a descriptor. This only asks the system whether it can be waited for.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a directory, and for a regular file that the system cannot wait for: most
    /// can only be read by [`fs`](super::fs), but some of the Linux kernel's (in `/proc` or `/sys`)
    /// report changes. `InvalidInput` if the descriptor is closed. The error drops `inner`;
    /// [`try_new`](Self::try_new) returns it.
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
        Self::try_new(inner).map_err(|(_, error)| error)
    }

    /// Wraps a descriptor, as [`new`](Self::new) does, but gives it back if it cannot be waited for.
    ///
    /// # Errors
    ///
    /// Those of `new`, with `inner`.
    ///
    /// ```
    /// use trefoil::io::AsyncFd;
    ///
    /// let file = std::fs::File::open(std::env::current_exe()?)?;
    /// let (file, error) = AsyncFd::try_new(file).unwrap_err();
    /// assert!(error.to_string().contains("regular file"));
    /// assert!(file.metadata()?.len() > 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_new(inner: T) -> Result<Self, (T, io::Error)> {
        match waitable(inner.as_fd()) {
            Ok(()) => Ok(Self {
                source: IoSource::new(inner),
            }),
            Err(error) => Err((inner, error)),
        }
    }

    /// Waits until a read would not block: there is data, or the end, or a pending error. As long
    /// as that is so, it completes at once each time.
    ///
    /// (If there is an error alone, as at a UDP socket, or an entry in a socket's error queue,
    /// which the system reports like one, this completes once for each report.)
    ///
    /// If other code may read first, make the descriptor non-blocking.
    ///
    /// # Errors
    ///
    /// When used off its loop; `AlreadyExists` if the loop watches this descriptor already;
    /// `Unsupported` if the system cannot wait for it; `InvalidInput` if it is closed. (If it is
    /// closed during a wait, that wait does not notice, because the system forgets it silently. The
    /// next one does.)
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
        self.ready_to(Direction::Read).await
    }

    /// Waits until a write would not block: there is room, or the other end is closed, or there is
    /// a pending error. As long as that is so, it completes at once each time.
    ///
    /// The system decides how much room there must be: a pipe guarantees `PIPE_BUF` bytes, and a
    /// larger write to a blocking descriptor may still wait.
    ///
    /// # Errors
    ///
    /// Those of [`readable`](Self::readable).
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
        self.ready_to(Direction::Write).await
    }

    /// [`readable`](Self::readable) for a future written by hand; only the latest caller is woken.
    ///
    /// # Errors
    ///
    /// Those of `readable`.
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

    /// [`writable`](Self::writable) for a future written by hand; only the latest caller is woken.
    ///
    /// # Errors
    ///
    /// Those of `writable`.
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

    /// Calls `op` until it does not fail with `WouldBlock`, and waits until a read would not block
    /// in between. The descriptor must be non-blocking, or `op` itself waits.
    ///
    /// # Errors
    ///
    /// Those of `op`, except `WouldBlock` and `Interrupted`; those of
    /// [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// `op` is called within a poll: a dropped future has not called it, or not successfully.
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

    /// Calls `op` until it does not fail with `WouldBlock`, and waits until a write would not block
    /// in between. The descriptor must be non-blocking, or `op` itself waits.
    ///
    /// # Errors
    ///
    /// Those of `op`, except `WouldBlock` and `Interrupted`; those of
    /// [`writable`](Self::writable).
    ///
    /// # Cancel safety
    ///
    /// See [`read_with`](Self::read_with).
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

    async fn ready_to(&self, direction: Direction) -> io::Result<()> {
        self.refuse_closed()?;
        self.source.ready(direction).await
    }

    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        self.refuse_closed()?;
        self.source.poll_ready(cx, direction)
    }

    /// Called before a wait for a descriptor that the loop may already watch: if other code has
    /// closed it, the kernel has forgotten it silently.
    fn refuse_closed(&self) -> io::Result<()> {
        if !self.source.is_watched() {
            return Ok(()); // the first wait finds out
        }
        let fd = self.as_fd();
        match fcntl_getfd(fd) {
            Err(Errno::BADF) => Err(closed(fd.as_raw_fd())),
            _ => Ok(()),
        }
    }

    /// The wrapped value.
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

    /// Returns the wrapped value, which no loop watches any more.
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

/// An error if the system does not wait for this descriptor.
fn waitable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let number = fd.as_raw_fd();
    let kind = match fstat(fd) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(Errno::BADF) => return Err(closed(number)),
        Err(error) => return Err(error.into()),
    };
    let name = match kind {
        FileType::Directory => "directory",
        FileType::RegularFile if !watches_file(fd)? => "regular file",
        _ => return Ok(()),
    };
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "descriptor {number} is a {name}, which cannot be waited for, because it is always \
             ready: use trefoil::io::fs, which reads and writes it off the loop"
        ),
    ))
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
