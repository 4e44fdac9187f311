//! `poll`, for threads that can only wait.
//!
//! Tests: `bell.rs`,
//! `crates/trefoil-machines/tests/slurm/copies.rs::a_copy_under_way_ends_with_the_pool`.

use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// How long to sleep if the call fails, for example for want of memory.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest wait: macOS refuses one of years.
const DAY: Duration = Duration::from_secs(86_400);

/// Waits until one of these is ready, or the time is over. It returns no errors, and does not spin
/// because of one. It may return early.
pub(crate) fn poll_patiently(fds: &mut [PollFd<'_>], timeout: Option<Duration>) {
    let limit = timeout.and_then(|timeout| Timespec::try_from(timeout.min(DAY)).ok());
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => sleep(timeout.map_or(PAUSE, |timeout| timeout.min(PAUSE))),
    }
}
