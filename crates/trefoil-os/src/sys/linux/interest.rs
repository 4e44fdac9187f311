//! How mio waits: which events it registers, and for how long.
//!
//! mio's wait rounds up to a millisecond. A longer wait is rounded down here, so it may end early;
//! a wait of less than a millisecond is done with `poll`, on mio's descriptor. So each wait costs
//! one system call, except the last one before a deadline, which costs two.
//!
//! Rejected: our own wait on that descriptor (`epoll_pwait2`), which would save those calls, but
//! would be a second way to read events.
//!
//! Tests: `sys::poller`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::sys::poll::poll;
use crate::sys::refused::refused;
pub use crate::sys::unix::interest::refusal;

/// The resolution of mio's wait.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The events to watch: both directions, and urgent data.
const INTERESTS: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

/// The system calls behind mio: the one that makes a poller, the one that makes its wake-up, the
/// one that waits.
pub const CALLS: [&str; 3] = ["epoll_create1", "eventfd2 or epoll_ctl", "epoll_wait"];

/// Empty: the kernel remembers what is watched, and reports each edge.
#[derive(Debug, Default)]
pub struct Sources(());

impl Sources {
    /// Watches `fd` in both directions, edge-triggered.
    pub fn register(
        &self,
        registry: &Registry,
        fd: BorrowedFd<'_>,
        token: usize,
    ) -> io::Result<()> {
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(token), INTERESTS)
    }

    /// Stops watching `fd`. It is not an error if `fd` was not watched.
    pub fn unwatch(&self, registry: &Registry, fd: BorrowedFd<'_>) {
        let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    /// Nothing to do: the kernel reports the next edge by itself.
    #[inline]
    pub fn rearm(&self, _token: usize) {}
}

/// Whether the kernel can wait for this regular file, as for some of its own.
pub fn watches_file(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // Only `epoll` refuses the others; `poll` calls them ready.
    let trial = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let nothing = epoll::EventFlags::empty();
    match epoll::add(trial, fd, epoll::EventData::new_u64(0), nothing) {
        Ok(()) => Ok(true),
        Err(Errno::PERM) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until something happens, at most for `timeout`. If nothing does, it may end early by less
/// than a millisecond.
pub fn wait(poll: &mut Poll, found: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    let timeout = match timeout {
        Some(short) if !short.is_zero() && short < MILLISECOND => {
            wait_exactly(poll, short)?;
            Some(Duration::ZERO)
        }
        Some(long) => {
            let rest = long.subsec_nanos() % MILLISECOND.subsec_nanos();
            Some(long - Duration::from_nanos(rest.into()))
        }
        None => None,
    };
    poll.poll(found, timeout)
}

fn wait_exactly(mio: &Poll, timeout: Duration) -> io::Result<()> {
    let mut descriptor = [PollFd::new(mio.registry(), PollFlags::IN)];
    match poll(&mut descriptor, Timespec::try_from(timeout).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(refused("ppoll")(error)),
    }
}
