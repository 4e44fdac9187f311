//! A pipe that any thread, and a signal handler, can make readable.
//!
//! Each ring writes eight bytes. To silence a bell is to read all of them. A bell with listeners is
//! never emptied: one listener would take the bytes that another has not seen yet. Of such a bell
//! only the surplus is read ([`make_room`]), before the pipe is full, because a ring of a full pipe
//! is no edge.
//!
//! Tests: `tests/process/pool.rs::{no_item_waits_behind_a_long_one,
//! a_call_that_sees_its_token_spares_its_worker}`, with `--cfg trefoil_port`.
//!
//! Rejected: `EVFILT_USER` in a `kqueue` of its own, because a second ring is no edge while the
//! first was not taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::{Result, ioctl_fionread};

use crate::loom::Mutex;
use crate::sys::fork::PerProcess;

/// A pipe with more bytes than this is shortened: a quarter of the smallest pipe's size.
const MANY: u64 = 1024;

/// The system call that makes a bell.
pub const CALL: &str = if cfg!(target_vendor = "apple") {
    "pipe"
} else {
    "pipe2"
};

/// A pipe that becomes readable when it is rung, and stays so until it is silenced. Each ring is an
/// edge.
#[derive(Debug)]
pub struct Bell {
    heard: OwnedFd,
    rung: OwnedFd,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let (heard, rung) = pipe()?;
        Ok(Self { heard, rung })
    }

    /// Makes the bell readable.
    #[inline]
    pub fn ring(&self) {
        ring(self.rung.as_fd());
    }

    /// Takes all rings back.
    #[inline]
    pub fn silence(&self) {
        while rustix::io::read(&self.heard, &mut [0; 512]).is_ok_and(|count| count == 512) {}
    }

    /// The descriptor that [`ring`] writes to. It is valid while the bell exists.
    pub fn ring_fd(&self) -> RawFd {
        self.rung.as_raw_fd()
    }

    /// Another descriptor on which every ring is an edge. It must not be silenced; see
    /// [`make_room`].
    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.heard.try_clone()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

/// A pipe that does not block, and that no other program gets.
#[cfg(not(target_vendor = "apple"))]
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
}

/// A pipe that does not block; a program that another thread starts at this moment may get it.
#[cfg(target_vendor = "apple")]
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((read, write))
}

/// Rings a bell by its [`ring_fd`](Bell::ring_fd). A signal handler may call this. (A full pipe is
/// ringing already, so an error needs nothing.)
#[inline]
pub fn ring(ring_fd: BorrowedFd<'_>) {
    let _ = rustix::io::write(ring_fd, &1_u64.to_ne_bytes());
}

/// Shortens a bell that is never silenced, so that it has room for more rings.
pub fn make_room(listener: &OwnedFd) {
    /// Only one thread reads at a time: two could empty the pipe.
    static ONE: PerProcess<Mutex<()>> = PerProcess::new();
    let _one = ONE.get_or_init(Mutex::default).lock();
    while ioctl_fionread(listener).is_ok_and(|bytes| bytes > MANY) {
        if rustix::io::read(listener, &mut [0; 512]).is_err() {
            return;
        }
    }
}
