//! How mio waits: what it registers, and for how long.
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
use std::time::Duration;

use mio::{Events, Interest, Poll};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::sys::poll::poll;
use crate::sys::refused::refused;
pub(crate) use crate::sys::unix::watch::{Sources, refusal};

/// What mio's wait rounds to.
const MILLISECOND: Duration = Duration::from_millis(1);

/// For both directions, and for urgent data.
pub(crate) const INTERESTS: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

/// The system calls of mio: to make a poller, to make its wake-up descriptor, to wait.
pub(crate) const CALLS: [&str; 3] = ["epoll_create1", "eventfd2 or epoll_ctl", "epoll_wait"];

/// Waits until something happens, at most for `timeout`. If nothing does, it may end early by less
/// than a millisecond.
pub(crate) fn wait(
    poll: &mut Poll,
    found: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
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
