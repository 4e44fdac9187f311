//! A loop as a descriptor, and why one cannot be registered with mio.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::sys::poller::Poller;

/// The descriptor is readable when there is an event.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry.as_fd()
    }
}

/// Why a descriptor cannot be watched: the rest of a sentence that begins with its number.
pub fn refusal(error: &io::Error) -> Option<(io::ErrorKind, &'static str)> {
    match Errno::from_io_error(error) {
        Some(Errno::EXIST) => Some((
            io::ErrorKind::AlreadyExists,
            "is already watched by this event loop: use the object that was made from it first, or \
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
