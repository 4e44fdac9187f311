//! A descriptor that any thread, and a signal handler, makes ready: an `eventfd`.
//!
//! Tests: `tests/event_loop/signals.rs` (each ring is an edge), `tests/event_loop/time.rs` (the
//! thread that waits without a loop).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

/// The call that makes one.
pub(crate) const CALL: &str = "eventfd2";

/// It is ready once it was rung, until it is silenced. Each ring is an edge.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(eventfd(0, flags)?))
    }

    pub(crate) fn ring(&self) {
        ring(self.0.as_fd());
    }

    pub(crate) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// What [`ring`] rings, while the bell is there.
    pub(crate) fn rope(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// One more descriptor that every ring is an edge of. It is not silenced; see [`make_room`].
    pub(crate) fn listener(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// By its [`rope`](Bell::rope). A signal handler may call this. (One that cannot count further is
/// ringing.)
pub(crate) fn ring(rope: BorrowedFd<'_>) {
    let _ = rustix::io::write(rope, &1_u64.to_ne_bytes());
}

/// A bell that is never silenced has room for more rings, always: it counts.
pub(crate) fn make_room(_listener: &OwnedFd) {}
