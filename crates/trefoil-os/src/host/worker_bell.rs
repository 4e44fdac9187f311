//! The bell that makes a worker look at its gates, or asks it something.
//!
//! It is a pair of sockets, of which the parent keeps one and the worker gets the other, so the
//! parent writes to an open file that no other process has, and asks not to wait with each call.
//! Whatever the worker does to its own end, a ring costs the parent a moment. Another byte than
//! that of a ring is a question ([`WorkerBell::ask`]), which the worker answers through its end.
//!
//! Rejected: an `eventfd`. Both processes would have the same open file, and with it its flags: a
//! worker could make it blocking and full, and the next ring would stop the parent forever.
//!
//! Tests: below;
//! `tests/process/hostile.rs::what_a_worker_does_to_its_descriptors_does_not_stop_the_driver`,
//! `tests/process/pool.rs::a_call_that_sees_its_token_spares_its_worker`.

use std::io::{self, IoSlice};

use rustix::fd::{AsFd, BorrowedFd};

use crate::loom::Arc;
use crate::sys::sockets::{self, Stream};
use crate::sys::transfer::transmit;

/// The system call that makes it.
pub const CALL: &str = "socketpair";

/// What is heard when the worker is asked for its own tree.
pub const QUESTION: u8 = 2;

/// The parent's side, and the worker's until it has been sent.
#[derive(Debug)]
pub struct WorkerBell {
    ours: Arc<Stream>,
    theirs: Option<Stream>,
}

impl WorkerBell {
    /// Both ends, here.
    pub fn new() -> io::Result<Self> {
        let (ours, theirs) = sockets::pair()?;
        Ok(Self {
            ours: Arc::new(ours),
            theirs: Some(theirs),
        })
    }

    /// The end that the worker gets, once: readable after it was rung.
    pub fn theirs(&self) -> Option<BorrowedFd<'_>> {
        self.theirs.as_ref().map(Stream::as_fd)
    }

    /// The worker has its end.
    pub fn is_handed_over(&mut self) {
        self.theirs = None;
    }

    /// Asks the worker for its own tree. Never waits; false: there was no room.
    pub fn ask(&self) -> bool {
        transmit(self.ours.as_fd(), true, &[IoSlice::new(&[QUESTION])]).is_ok()
    }

    /// What the worker sends back.
    pub fn answers(&self) -> &Arc<Stream> {
        &self.ours
    }

    /// Never waits. (If there is no room, earlier rings have not been heard yet.)
    pub fn ring(&self) {
        let _ = transmit(self.ours.as_fd(), true, &[IoSlice::new(&[1])]);
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, miri))))]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_ring_never_waits_whatever_the_worker_does() {
        let mut bell = WorkerBell::new().unwrap();
        // The flags belong to the open file: a worker can change those of its own end only.
        rustix::io::ioctl_fionbio(bell.theirs().unwrap(), false).unwrap();
        let begin = Instant::now();
        for _ in 0..100_000 {
            bell.ring();
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        let mut heard = [0; 1];
        let mut theirs = bell.theirs.as_ref().unwrap();
        theirs.read_exact(&mut heard).unwrap();
        theirs.shutdown(std::net::Shutdown::Both).unwrap();
        bell.ring();
        bell.is_handed_over();
        bell.ring();
    }
}
