//! How mio waits: which events it registers, and for how long. (`kqueue` waits to the nanosecond.)

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll};

pub(crate) use crate::sys::unix::watch::{Sources, refusal};

/// The events to watch: both directions. (Urgent data is not reported; see `transfer`.)
pub(crate) const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The system calls behind mio: the one that makes a poller, the one that makes its wake-up, the
/// one that waits.
pub(crate) const CALLS: [&str; 3] = ["kqueue", "kevent", "kevent"];

/// Waits until something happens, at most for `timeout`.
pub(crate) fn wait(
    poll: &mut Poll,
    found: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    poll.poll(found, timeout)
}
