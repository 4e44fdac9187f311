//! Waits until a call would not block, without making the call.
//!
//! The kernel is asked with `poll(2)`, so the answer is level-triggered: it is right whatever was
//! read or written meanwhile, through this source or not, and nothing must be cleared. If the call
//! would block, the source registers with its loop, and the task waits for the next edge. An edge
//! between the question and the wait is not lost: only the loop takes events, after the task has
//! been entered (see `event_loop::reactor`).
//!
//! One answer is ambiguous. `POLLERR` alone, of a socket, means that the next call returns an
//! error, or else that there is an entry in the error queue, and the call would block. Only that
//! call would find out, and it would take the error. So this answer counts once for each event; the
//! next such call is made, all the same.
//!
//! Priorities and errors as such are taken from the events: some files of the kernel forget a
//! priority when they are asked.
//!
//! The macros write the public methods. These differ only in the type.
//!
//! Tests: `tests/io/readiness.rs::{readable_for_as_long_as_something_is_there,
//! a_reader_that_waits_misses_nothing_that_others_tried}`.

use std::io;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, AsRawFd, RawFd};
use rustix::net::sockopt::socket_type;

use super::source::{Completed, IoSource};
use crate::event_loop::Direction;
use crate::sys::poll::poll;

impl<T: AsFd> IoSource<T> {
    pub(super) async fn ready(&self, direction: Direction) -> io::Result<()> {
        self.operate(direction, |io| would_not_block(io, direction))
            .await
    }

    pub(super) fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
    ) -> Poll<io::Result<()>> {
        self.poll(cx, direction, |io| would_not_block(io, direction))
    }
}

/// Asks whether a call would block; if so, returns `WouldBlock`. With a pending error, or a peer
/// that is gone, it does not block.
pub(super) fn would_not_block(io: &impl AsFd, direction: Direction) -> io::Result<Completed<()>> {
    let event = match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    };
    let mut asked = [PollFd::new(io, event)];
    if poll(&mut asked, Some(&Timespec::default()))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let answer = asked[0].revents();
    if answer.contains(PollFlags::NVAL) {
        return Err(closed(io.as_fd().as_raw_fd()));
    }
    // (Of a pipe it means that nobody reads, so that a write does not block.)
    if answer == PollFlags::ERR && socket_type(io.as_fd()).is_ok() {
        return Ok(Completed::Reported(()));
    }
    Ok(Completed::Full(()))
}

pub(super) fn closed(number: RawFd) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("descriptor {number} is closed"),
    )
}

/// The public methods of a type that can wait for reads.
macro_rules! readable {
    ($type:ty) => {
        impl $type {
            /// Waits until a read would not block: there is data, or the end, or a pending error.
            /// As long as that is so, it completes at once each time: there is no guard, and
            /// nothing to clear.
            ///
            /// (If there is an error alone, as at a UDP socket, or an entry in a socket's error
            /// queue, which the system reports like one, this completes once for each report.)
            ///
            /// # Errors
            ///
            /// Errors of the system. An error when used off its loop.
            ///
            /// # Cancel safety
            ///
            /// Nothing is read, so nothing is lost.
            ///
            /// ```
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, far) = UnixStream::pair()?;
            ///     far.write_all(b"abc").await?;
            ///     near.readable().await?;
            ///     assert_eq!(near.try_read(&mut [0; 8])?, 3);
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn readable(&self) -> std::io::Result<()> {
                self.source()
                    .ready($crate::event_loop::Direction::Read)
                    .await
            }

            /// [`readable`](Self::readable) for a future written by hand; only the latest caller is
            /// woken.
            ///
            /// # Errors
            ///
            /// Those of `readable`.
            ///
            /// ```
            /// use std::future::poll_fn;
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, far) = UnixStream::pair()?;
            ///     drop(far);
            ///     poll_fn(|cx| near.poll_readable(cx)).await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn poll_readable(
                &self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.source()
                    .poll_ready(cx, $crate::event_loop::Direction::Read)
            }
        }
    };
}
pub(super) use readable;

/// The public methods of a type that can wait for writes.
macro_rules! writable {
    ($type:ty) => {
        impl $type {
            /// Waits until the system reports that a write would not block: there is room (it
            /// decides how much: on Linux a part of the buffer), or the other end is closed, or
            /// there is a pending error. As long as that is so, it completes at once each time.
            ///
            /// # Errors
            ///
            /// Errors of the system. An error when used off its loop.
            ///
            /// # Cancel safety
            ///
            /// Nothing is written, so nothing is lost.
            ///
            /// ```
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, _far) = UnixStream::pair()?;
            ///     near.writable().await?;
            ///     assert_eq!(near.try_write(b"abc")?, 3);
            ///     Ok::<_, std::io::Error>(())
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub async fn writable(&self) -> std::io::Result<()> {
                self.source()
                    .ready($crate::event_loop::Direction::Write)
                    .await
            }

            /// [`writable`](Self::writable) for a future written by hand; only the latest caller is
            /// woken.
            ///
            /// # Errors
            ///
            /// Those of `writable`.
            ///
            /// ```
            /// use std::future::poll_fn;
            /// use trefoil::io::UnixStream;
            ///
            /// trefoil::run(async {
            ///     let (near, _far) = UnixStream::pair()?;
            ///     poll_fn(|cx| near.poll_writable(cx)).await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn poll_writable(
                &self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.source()
                    .poll_ready(cx, $crate::event_loop::Direction::Write)
            }
        }
    };
}
pub(super) use writable;
