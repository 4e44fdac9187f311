//! How descriptors are registered with mio.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mio::unix::SourceFd;
use mio::{Registry, Token};
use rustix::io::Errno;

use crate::sys::poller::Poller;
use crate::sys::watch::INTERESTS;

/// Empty: the kernel remembers what is watched, and reports each edge.
#[derive(Debug, Default)]
pub(crate) struct Sources(());

impl Sources {
    /// Watches `fd` in both directions, edge-triggered.
    pub(crate) fn register(
        &self,
        registry: &Registry,
        fd: BorrowedFd<'_>,
        token: usize,
    ) -> io::Result<()> {
        registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(token), INTERESTS)
    }

    /// Stops watching `fd`. It is no error if `fd` was not watched.
    pub(crate) fn unwatch(&self, registry: &Registry, fd: BorrowedFd<'_>) {
        let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    /// Nothing to do: the kernel reports the next edge by itself.
    #[inline]
    pub(crate) fn rearm(&self, _token: usize) {}
}

/// The descriptor is readable when there is an event.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry().as_fd()
    }
}

/// Why a descriptor cannot be watched: the rest of a sentence that begins with its number.
pub(crate) fn refusal(error: &io::Error) -> Option<(io::ErrorKind, &'static str)> {
    match Errno::from_io_error(error) {
        Some(Errno::EXIST) => Some((
            io::ErrorKind::AlreadyExists,
            "is watched by this event loop already: use the one that was made of it first, or \
             a duplicate of the descriptor",
        )),
        Some(Errno::PERM) => Some((
            io::ErrorKind::Unsupported,
            "cannot be waited for (is it a regular file? see trefoil::io::fs)",
        )),
        Some(Errno::BADF) => Some((io::ErrorKind::InvalidInput, "is closed")),
        _ => None,
    }
}
