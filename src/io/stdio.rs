//! The process's own standard streams.
//!
//! They may be files of any kind, and other processes share them and expect them to block: the
//! flag that makes an open file non-blocking must not be set on them. So:
//!
//! 1. A pipe or a terminal is opened a second time (through `/proc/self/fd`), without blocking:
//!    that is another open file of the same pipe or terminal. The loop waits for it like for any
//!    source; no thread is involved, and an abandoned read has read nothing.
//! 2. A socket cannot be opened again, but each call on it can ask not to wait.
//! 3. A regular file is read and written off the loop, through a duplicate that shares its position
//!    (see `fs::File`). So is anything that the system refuses to open again, or would create again
//!    (the controlling side of a terminal). A read of such a stream may stay on its thread for
//!    ever, and nothing waits for that thread.
//!
//! All of this happens at the first use. A short read says nothing about the next one: a terminal
//! returns a line at a time.
//!
//! Rejected: a thread that reads ahead, as other runtimes have. It takes bytes that a child, or
//! later code of the program, should have read, and keeps runtimes that wait for it from ending.
//!
//! Tests: `tests/io/standard.rs::{a_waiting_read_delays_no_task_and_takes_nothing,
//! a_reader_that_does_not_read_delays_only_the_writer}`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};
use rustix::fd::OwnedFd;

use super::buf_reader::BufReader;
use super::byte_stream::ByteDescriptor;
use super::fs;
use super::lines::Lines;
use super::read_write;
use super::source::IoSource;
use crate::sys::descriptor::descriptor;
use crate::sys::stdio::{self, StandardStream};

/// The standard input of this process.
///
/// Several handles may exist; each reads what has arrived when it reads. This handle reads ahead
/// only what [`read_line`](Self::read_line) has left of its last piece, and what a dropped read of a
/// regular file has read. `std`'s own `Stdin` has a
/// buffer of its own: use only one of the two.
///
/// A pending read keeps neither the loop nor the process from ending.
///
/// ```no_run
/// use trefoil::io::stdin;
///
/// trefoil::run(async {
///     let mut input = stdin();
///     let mut line = String::new();
///     while input.read_line(&mut line).await? > 0 {
///         println!("you wrote: {}", line.trim_end());
///         line.clear();
///     }
///     Ok::<_, std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Stdin {
    /// Only lines are read through the buffer.
    reader: BufReader<Standard>,
}

/// The standard input; see [`Stdin`].
///
/// ```
/// let input = trefoil::io::stdin();
/// ```
pub fn stdin() -> Stdin {
    Stdin {
        reader: BufReader::with_capacity(STDIN_BUFFER_BYTES, Standard::New(0)),
    }
}

/// How many bytes `read_line` asks for at once.
const STDIN_BUFFER_BYTES: usize = 1024;

impl Stdin {
    /// Reads what has arrived, at least one byte; 0 at the end.
    ///
    /// # Errors
    ///
    /// Errors of the system; most often, standard input is closed, or cannot be read. An error when
    /// used off its loop (a regular file needs none, nor does what the system does not open again).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: this handle returns later what it has read.
    ///
    /// ```no_run
    /// # trefoil::run(async {
    /// let count = trefoil::io::stdin().read(&mut [0; 512]).await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_write::read(self, buffer).await
    }

    /// Appends the next line, with its end; returns its length in bytes, 0 at the end of the
    /// input.
    ///
    /// # Errors
    ///
    /// `InvalidData` if it is not UTF-8, and nothing is appended then; those of
    /// [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// ```no_run
    /// # trefoil::run(async {
    /// let mut line = String::new();
    /// trefoil::io::stdin().read_line(&mut line).await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        self.reader.read_line(line).await
    }

    /// Yields the lines, one by one, without their ends. It reads ahead: other readers of the input
    /// lose these bytes.
    ///
    /// ```no_run
    /// trefoil::run(async {
    ///     let mut lines = trefoil::io::stdin().lines();
    ///     while let Some(line) = lines.next().await {
    ///         println!("you wrote: {}", line?);
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lines(self) -> Lines<Self> {
        BufReader::new(self).lines()
    }

    /// Appends everything up to the end; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// What has been read is in `bytes`.
    ///
    /// ```no_run
    /// # trefoil::run(async {
    /// let mut bytes = Vec::new();
    /// trefoil::io::stdin().read_to_end(&mut bytes).await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        read_write::read_to_end(self, bytes).await
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
    /// ```no_run
    /// # trefoil::run(async {
    /// let mut text = String::new();
    /// trefoil::io::stdin().read_to_string(&mut text).await?;
    /// # Ok::<_, std::io::Error>(()) })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        read_write::read_to_string(self, text).await
    }
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.reader.buffer().is_empty() {
            return Pin::new(self.reader.get_mut()).poll_read(cx, buffer);
        }
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

macro_rules! output {
    ($(#[$docs:meta])* $name:ident, $function:ident, $fd:literal) => {
        $(#[$docs])*
        ///
        /// It has no buffer. `print!` and similar macros have a buffer of their own, which is
        /// written when they flush.
        ///
        /// ```
        #[doc = concat!("use trefoil::io::", stringify!($function), ";")]
        ///
        /// trefoil::run(async {
        #[doc = concat!("    ", stringify!($function), "().write_all(b\"hello\\n\").await")]
        /// })?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[derive(Debug)]
        pub struct $name {
            stream: Standard,
        }

        $(#[$docs])*
        ///
        /// ```
        #[doc = concat!("let output = trefoil::io::", stringify!($function), "();")]
        /// ```
        pub fn $function() -> $name {
            $name {
                stream: Standard::New($fd),
            }
        }

        impl $name {
            /// Writes some of `bytes`; returns their number.
            ///
            /// # Errors
            ///
            /// Errors of the system; most often, one of the two ends is closed (`BrokenPipe`). An
            /// error when used off its loop (a regular file needs none, nor does what the system
            /// does not open again, such as a pipe of another user).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future writes nothing, except to what needs no loop: that write
            /// continues, and a write of the same bytes by this handle joins it.
            ///
            /// ```
            /// # trefoil::run(async {
            #[doc = concat!("trefoil::io::", stringify!($function), "().write(b\"hello\\n\").await?;")]
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                read_write::write(self, bytes).await
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
            #[doc = concat!("trefoil::io::", stringify!($function), "().write_all(b\"hello\\n\").await?;")]
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                read_write::write_all(self, bytes).await
            }

            /// Waits for the end of a write that was given up, to what needs no loop. All other
            /// writes are done when their futures are: there is no buffer.
            ///
            /// # Errors
            ///
            /// Errors of that write.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            ///
            /// ```
            /// # trefoil::run(async {
            #[doc = concat!("trefoil::io::", stringify!($function), "().flush().await?;")]
            /// # Ok::<_, std::io::Error>(()) })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn flush(&mut self) -> io::Result<()> {
                read_write::flush(self).await
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write(cx, &[IoSlice::new(bytes)])
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.stream.poll_write(cx, slices)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stream.poll_flush(cx)
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.stream.poll_flush(cx)
            }
        }
    };
}

output! {
    /// The standard output of this process.
    Stdout, stdout, 1
}

output! {
    /// The standard error of this process.
    Stderr, stderr, 2
}

/// How one of the three streams is used, which depends on its kind.
#[derive(Debug)]
enum Standard {
    /// The stream was not used yet.
    New(u8),
    Source(IoSource<Device>),
    File(fs::File),
}

impl AsyncRead for Standard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.opened()? {
            Self::Source(source) => source.poll_read(cx, &mut [IoSliceMut::new(buffer)]),
            Self::File(file) => Pin::new(file).poll_read(cx, buffer),
            Self::New(_) => unreachable!("it was opened"),
        }
    }
}

impl Standard {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.opened()? {
            Self::Source(source) => source.poll_write(cx, slices),
            Self::File(file) => Pin::new(file).poll_write_vectored(cx, slices),
            Self::New(_) => unreachable!("it was opened"),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::File(file) => Pin::new(file).poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn opened(&mut self) -> io::Result<&mut Self> {
        if let Self::New(number) = *self {
            *self = open(number)?;
        }
        Ok(self)
    }
}

fn open(number: u8) -> io::Result<Standard> {
    Ok(match stdio::open(number)? {
        StandardStream::Polled(fd, socket) => {
            Standard::Source(IoSource::new(Device { fd, socket }))
        }
        StandardStream::Blocking(file) => Standard::File(file.into()),
    })
}

/// A descriptor that does not block, by itself or because each call asks not to wait.
#[derive(Debug)]
struct Device {
    fd: OwnedFd,
    socket: bool,
}

impl ByteDescriptor for Device {
    fn is_socket(&self) -> bool {
        self.socket
    }
}

descriptor! { Device, fd }
