//! `WSAPoll`: waits for sockets, to the millisecond.

use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::io::Result;

/// How long to sleep where the call fails.
const NAP: Duration = Duration::from_millis(5);

/// As `rustix::event::poll`, of one socket at least.
pub(crate) fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    rustix::event::poll(fds, timeout)
}

/// For threads that cannot do anything but wait: no error is theirs to deal with, and none makes
/// them spin. It may end early.
pub(crate) fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    /// More than this the call does not take.
    const LONG: Duration = Duration::from_secs(86_400);
    let timeout = timeout.map_or(LONG, |timeout| timeout.min(LONG));
    let limit = Timespec::try_from(timeout).ok();
    if fds.is_empty() || poll(fds, limit.as_ref()).is_err() {
        std::thread::park_timeout(timeout.min(NAP));
    }
}
