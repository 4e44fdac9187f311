//! Waiting until a call would not block, without making it.
//!
//! The kernel is asked by `poll(2)`, so the answer is level-triggered: it is right whatever was
//! read or written meanwhile, through this source or not, and there is nothing to clear. If the
//! call would block, the source registers with its loop, and the task waits for the next edge. An
//! edge between the question and the wait is not lost: events are taken in by the loop only, after
//! the task has been entered (see `event_loop::reactor`).
//!
//! The macros write the public methods, which differ in nothing but the type.
//!
//! Checked by `tests/io/`.

use std::io;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, AsRawFd, RawFd};

use super::source::{Outcome, Source};
use crate::event_loop::Direction;
use crate::sys::poll::poll;

impl<T: AsFd> Source<T> {
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

/// `WouldBlock` if it would. A pending error, or a peer that is gone, does not block.
fn would_not_block(io: &impl AsFd, direction: Direction) -> io::Result<Outcome<()>> {
    let event = match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    };
    let mut asked = [PollFd::new(io, event)];
    if poll(&mut asked, Some(&Timespec::default()))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    if asked[0].revents().contains(PollFlags::NVAL) {
        return Err(closed(io.as_fd().as_raw_fd()));
    }
    Ok(Outcome::Full(()))
}

pub(super) fn closed(number: RawFd) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("descriptor {number} is closed"),
    )
}

/// The public methods of what can be waited for to be readable.
macro_rules! readable {
    ($type:ty) => {
        impl $type {
            /// Waits until a read would not block: there is something, or the end has come, or an
            /// error is to be fetched. It says so each time, for as long as that is the case:
            /// there is no guard, and nothing to clear.
            ///
            /// # Errors
            ///
            /// The system's. Off its loop.
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

            /// [`readable`](Self::readable) for a future written by hand; the latest caller is
            /// woken.
            ///
            /// # Errors
            ///
            /// As `readable`.
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

/// The public methods of what can be waited for to be writable.
macro_rules! writable {
    ($type:ty) => {
        impl $type {
            /// Waits until a write would not block: there is room, or the other end is closed, or
            /// an error is to be fetched. It says so each time, for as long as that is the
            /// case.
            ///
            /// # Errors
            ///
            /// The system's. Off its loop.
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

            /// [`writable`](Self::writable) for a future written by hand; the latest caller is
            /// woken.
            ///
            /// # Errors
            ///
            /// As `writable`.
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
