//! A descriptor that any thread can make readable, for a thread that polls.
//!
//! Tests: below.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Readable from the first ring until it is silenced.
#[derive(Debug)]
pub(crate) struct Bell {
    heard: UnixStream,
    rung: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok(Self { heard, rung })
    }

    pub(crate) fn ring(&self) {
        let _ = (&self.rung).write(&[0]); // (if it is full, it is ringing)
    }

    pub(crate) fn silence(&self) {
        while matches!((&self.heard).read(&mut [0; 512]), Ok(512)) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.heard.as_fd()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};

    use super::*;
    use crate::common::poll::poll_patiently;

    #[test]
    fn it_is_heard_until_it_is_silenced() {
        let bell = Bell::new().unwrap();
        let is_heard = || {
            let mut fds = [PollFd::new(&bell, PollFlags::IN)];
            poll_patiently(&mut fds, Some(Duration::ZERO));
            !fds[0].revents().is_empty()
        };
        for _ in 0..2 {
            assert!(!is_heard());
            for _ in 0..100_000 {
                bell.ring(); // more often than it has room
            }
            assert!(is_heard());
            bell.silence();
        }
        assert!(!is_heard());
    }
}
