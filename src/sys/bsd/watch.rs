//! How mio waits: which events it registers, and for how long. (`kqueue` waits to the nanosecond.)
//!
//! Tests: `tests/io/async_fd.rs`, `tests/io/children.rs`.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::io::Errno;

use crate::loom::Mutex;
pub(crate) use crate::sys::unix::watch::refusal;

/// The events to watch: both directions. (Urgent data is not reported; see `transfer`.)
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The system calls behind mio: the one that makes a poller, the one that makes its wake-up, the
/// one that waits.
pub(crate) const CALLS: [&str; 3] = ["kqueue", "kevent", "kevent"];

/// What is watched, by its number. (A `kqueue` would take a descriptor once more, and tell only the
/// new owner.)
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<HashSet<RawFd>>);

impl Sources {
    /// Watches `fd` in the directions that it has, edge-triggered.
    pub(crate) fn register(
        &self,
        registry: &Registry,
        fd: BorrowedFd<'_>,
        token: usize,
    ) -> io::Result<()> {
        let number = fd.as_raw_fd();
        let watch = |interests| registry.register(&mut SourceFd(&number), Token(token), interests);
        let mut watched = self.0.lock();
        if watched.contains(&number) {
            return Err(Errno::EXIST.into());
        }
        match watch(INTERESTS) {
            // Another `kqueue`, that of a child (`child`) or of another loop, can only be read.
            // (Old macOS says so with the number of `PERM`.)
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::INVAL | Errno::PERM)
                ) =>
            {
                watch(Interest::READABLE)
            }
            result => result,
        }?;
        watched.insert(number);
        Ok(())
    }

    /// Stops watching `fd`. It is no error if `fd` was not watched.
    pub(crate) fn unwatch(&self, registry: &Registry, fd: BorrowedFd<'_>) {
        let mut watched = self.0.lock();
        if watched.remove(&fd.as_raw_fd()) {
            let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }

    /// Nothing to do: the kernel reports the next edge by itself.
    #[inline]
    pub(crate) fn rearm(&self, _token: usize) {}
}

/// Waits until something happens, at most for `timeout`.
pub(crate) fn wait(
    poll: &mut Poll,
    found: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    poll.poll(found, timeout)
}
