//! An `eventfd` that any thread, and a signal handler, can make readable.
//!
//! Tests: `tests/io/signals.rs` (each ring is an edge), `tests/event_loop/time.rs` (the
//! thread that waits without a loop).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

/// The system call that makes a bell.
pub const CALL: &str = "eventfd2";

/// Readable from the first ring until it is silenced. Each ring is an edge.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    /// Makes the bell readable.
    #[inline]
    pub fn ring(&self) {
        ring(self.0.as_fd());
    }

    /// Takes all rings back.
    #[inline]
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// The descriptor for [`ring`], valid while the bell exists.
    pub fn ring_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Another descriptor, on which every ring is an edge. It is never silenced; see [`make_room`].
    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Rings the bell with this [`ring_fd`](Bell::ring_fd). A signal handler may call this. (If the counter
/// is full, the bell is ringing already.)
#[inline]
pub fn ring(ring_fd: BorrowedFd<'_>) {
    let _ = rustix::io::write(ring_fd, &1_u64.to_ne_bytes());
}

/// Nothing to do: the counter of a bell that is never silenced does not fill up.
pub fn make_room(_listener: &OwnedFd) {}
