//! How mio waits: what it registers, and for how long. (`kqueue` waits to the nanosecond.)

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll};

pub(crate) use crate::sys::unix::watch::{Sources, refusal};

/// For both directions. (Of urgent data nothing is told; see `transfer`.)
pub(crate) const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The system's names of what mio calls: to make a poller, to make its wake-up descriptor, to wait.
pub(crate) const CALLS: [&str; 3] = ["kqueue", "kevent", "kevent"];

/// Waits until something happens, at most for `timeout`.
pub(crate) fn wait(
    poll: &mut Poll,
    found: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    poll.poll(found, timeout)
}
