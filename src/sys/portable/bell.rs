//! A descriptor that any thread, and a signal handler, makes ready: a pipe.
//!
//! Each ring is eight bytes. Of a bell that is silenced all of them are read. One with listeners is
//! never empty again: a listener that has not looked yet would miss what another has read. So of
//! those only the surplus is read ([`make_room`]), before the pipe is full, when no ring would be
//! an edge any longer.
//!
//! Tests: `tests/process/` (with `--cfg trefoil_port`).
//!
//! Rejected: `EVFILT_USER` in a `kqueue` of its own, whose second ring is no edge while the first
//! was not taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio, ioctl_fionread};

use crate::loom::Mutex;

/// A pipe with more bytes than this is made shorter: a quarter of the smallest.
const MANY: u64 = 1024;

/// The call that makes one.
pub(crate) const CALL: &str = "pipe";

/// It is ready once it was rung, until it is silenced. Each ring is an edge.
#[derive(Debug)]
pub(crate) struct Bell {
    heard: OwnedFd,
    rung: OwnedFd,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (heard, rung) = rustix::pipe::pipe()?;
        for end in [&heard, &rung] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
            ioctl_fionbio(end, true)?;
        }
        Ok(Self { heard, rung })
    }

    pub(crate) fn ring(&self) {
        ring(self.rung.as_fd());
    }

    pub(crate) fn silence(&self) {
        while rustix::io::read(&self.heard, &mut [0; 512]).is_ok_and(|count| count == 512) {}
    }

    /// What [`ring`] rings, while the bell is there.
    pub(crate) fn rope(&self) -> RawFd {
        self.rung.as_raw_fd()
    }

    /// One more descriptor that every ring is an edge of. It is not silenced; see [`make_room`].
    pub(crate) fn listener(&self) -> io::Result<OwnedFd> {
        self.heard.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// By its [`rope`](Bell::rope). A signal handler may call this. (A pipe that is full is ringing.)
pub(crate) fn ring(rope: BorrowedFd<'_>) {
    let _ = rustix::io::write(rope, &1_u64.to_ne_bytes());
}

/// A bell that is never silenced has room for more rings.
pub(crate) fn make_room(listener: &OwnedFd) {
    /// Two that read at once could empty it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    while ioctl_fionread(listener).is_ok_and(|bytes| bytes > MANY) {
        if rustix::io::read(listener, &mut [0; 512]).is_err() {
            return;
        }
    }
}
