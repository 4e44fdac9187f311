//! `WSAPoll`: waits for sockets, with a resolution of a millisecond.

use std::time::Duration;

use rustix::event::{PollFd, Timespec};
use rustix::io::Result;

/// How long to sleep if the call fails.
const PAUSE: Duration = Duration::from_millis(5);

/// As `rustix::event::poll`, for at least one socket.
#[inline]
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> Result<usize> {
    rustix::event::poll(fds, timeout)
}

/// For threads that can only wait. An error is not reported, and does not make them
/// spin. The wait may end early.
pub fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    /// The longest wait that the call takes.
    const LONG: Duration = Duration::from_secs(86_400);
    let timeout = timeout.map_or(LONG, |timeout| timeout.min(LONG));
    let limit = Timespec::try_from(timeout).ok();
    if fds.is_empty() || poll(fds, limit.as_ref()).is_err() {
        std::thread::park_timeout(timeout.min(PAUSE));
    }
}
