//! How mio waits: which events it registers, and for how long. (`kqueue` waits to the nanosecond.)
//!
//! A `kqueue` would take a descriptor once more, and report its events only to the new owner. So
//! the numbers that are watched are kept here. But a descriptor may be closed while it is watched,
//! and the kernel forgets it then. So a number that is kept already is refused only if the kernel
//! has it, too, as `epoll` does it.
//!
//! Rejected: comparing what `fstat` says, which is the same for many sockets.
//!
//! Tests: `tests/io/async_fd.rs`, `tests/io/children.rs`.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::kqueue::{Event, EventFilter, EventFlags, kevent};
use rustix::io::Errno;

use crate::loom::Mutex;
pub use crate::sys::unix::interest::refusal;

/// The events to watch: both directions. (Urgent data is not reported; see `transfer`.)
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The system calls behind mio: the one that makes a poller, the one that makes its wake-up, the
/// one that waits.
pub const CALLS: [&str; 3] = ["kqueue", "kevent", "kevent"];

/// The token of each number that is watched, or was when its descriptor was closed.
#[derive(Debug, Default)]
pub struct Sources(Mutex<HashMap<RawFd, usize>>);

impl Sources {
    /// Watches `fd` in the directions that it has, edge-triggered.
    pub fn register(
        &self,
        registry: &Registry,
        fd: BorrowedFd<'_>,
        token: usize,
    ) -> io::Result<()> {
        let number = fd.as_raw_fd();
        let watch = |interests| registry.register(&mut SourceFd(&number), Token(token), interests);
        let mut watched = self.0.lock();
        if let Some(&owner) = watched.get(&number)
            && is_watched(registry, number, owner)
        {
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
        watched.insert(number, token);
        Ok(())
    }

    /// Stops watching `fd`. It is not an error if `fd` was not watched.
    pub fn unwatch(&self, registry: &Registry, fd: BorrowedFd<'_>) {
        let mut watched = self.0.lock();
        if watched.remove(&fd.as_raw_fd()).is_some() {
            let _ = registry.deregister(&mut SourceFd(&fd.as_raw_fd()));
        }
    }

    /// Nothing to do: the kernel reports the next edge by itself.
    #[inline]
    pub fn rearm(&self, _token: usize) {}
}

/// Whether the kernel still watches what `owner` has registered under this number.
fn is_watched(registry: &Registry, number: RawFd, owner: usize) -> bool {
    // Without `ADD`, this finds what is watched, or else nothing (`ENOENT`). What is found stays
    // enabled, and gets the same token once more; it may be reported once more.
    let owner = std::ptr::without_provenance_mut(owner);
    let change = Event::new(EventFilter::Read(number), EventFlags::ENABLE, owner);
    let mut none: [Event; 0] = [];
    // SAFETY: Y44: the change is a local variable.
    let found = unsafe { kevent(registry, &[change], &mut none, None) };
    !matches!(found, Err(Errno::NOENT | Errno::BADF))
}

/// Whether a regular file is worth a wait: here such a file only reports that it is ready.
pub fn watches_file(_fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

/// The longest wait: one day. (macOS refuses a wait of more than three years.)
const LONGEST: Duration = Duration::from_secs(86_400);

/// Waits until something happens, at most for `timeout`. If nothing does, it may end after a day.
pub fn wait(poll: &mut Poll, found: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    poll.poll(found, timeout.map(|timeout| timeout.min(LONGEST)))
}
