//! The workers' standard error, on its way to the parent's.
//!
//! It goes through the parent so that the last words of a worker that died can be part of
//! the error. The driver must not wait for whoever reads the parent's standard error: it
//! writes only what `poll` says will be taken, a page at a time, and while too much is waiting
//! it stops reading from the workers, who then wait as they would without a pool. Only when all
//! workers are gone it waits for a slow reader, for a second in all.
//!
//! Tests: `tests/process.rs`.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ChildStderr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// How much may wait until no more is read.
const MOST: usize = 64 << 10;
/// What a pipe that is ready takes without waiting.
const PAGE: usize = 4096;
/// How long the end of a pool waits for who reads standard error.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of a worker's last words is kept.
const TAIL: usize = 4096;
/// How `std` begins to say that there is no more memory, before it aborts.
const RAN_OUT: &[u8] = b"memory allocation of ";

/// What waits to be written to the parent's standard error.
#[derive(Debug)]
pub(crate) struct Forward {
    stderr: io::Stderr,
    waiting: Vec<u8>,
}

impl Forward {
    pub(crate) fn new() -> Self {
        Self {
            stderr: io::stderr(),
            waiting: Vec::new(),
        }
    }

    /// Workers' words may be read now.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// Something waits: poll standard error for writing.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.pump();
    }

    /// The workers are gone: writes the rest, if somebody reads it in time.
    pub(crate) fn finish(&mut self) {
        let end = Instant::now() + PATIENCE;
        self.pump();
        while self.is_waiting() {
            let left = end.saturating_duration_since(Instant::now());
            let mut fds = [PollFd::new(&self.stderr, PollFlags::OUT)];
            let limit = Timespec::try_from(left).ok();
            if left.is_zero() || poll(&mut fds, limit.as_ref()) == Ok(0) {
                return;
            }
            self.pump();
        }
    }

    /// Writes what can be written without waiting.
    pub(crate) fn pump(&mut self) {
        let mut written = 0;
        while written < self.waiting.len() {
            let mut fds = [PollFd::new(&self.stderr, PollFlags::OUT)];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let ready = poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0);
            if !ready {
                break;
            }
            let end = self.waiting.len().min(written + PAGE);
            match rustix::io::write(&self.stderr, &self.waiting[written..end]) {
                Ok(count) => written += count,
                Err(Errno::INTR | Errno::AGAIN) => break,
                // Closed, or nobody reads any more: nobody misses it.
                Err(_) => written = self.waiting.len(),
            }
        }
        self.waiting.drain(..written);
    }
}

/// One worker's standard error.
#[derive(Debug)]
pub(crate) struct Words {
    pipe: Option<Arc<OwnedFd>>,
    tail: Vec<u8>,
    /// The allocator had no more memory, as `std` says it; a long backtrace may follow.
    pub(crate) ran_out: bool,
}

impl Words {
    pub(crate) fn new(pipe: Option<ChildStderr>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(Self {
            pipe: pipe.map(|pipe| Arc::new(pipe.into())),
            tail: Vec::new(),
            ran_out: false,
        })
    }

    pub(crate) fn descriptor(&self) -> Option<&Arc<OwnedFd>> {
        self.pipe.as_ref()
    }

    /// Reads what there is, up to one buffer. False if there was nothing.
    pub(crate) fn read(&mut self, forward: &mut Forward) -> bool {
        let Some(pipe) = &self.pipe else {
            return false;
        };
        let mut buffer = [0; 8192];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                let words = &buffer[..count];
                let seam = self.tail.len().saturating_sub(RAN_OUT.len());
                self.tail.extend_from_slice(words);
                let mut windows = self.tail[seam..].windows(RAN_OUT.len());
                self.ran_out = self.ran_out || windows.any(|window| window == RAN_OUT);
                let excess = self.tail.len().saturating_sub(TAIL);
                self.tail.drain(..excess);
                forward.push(words);
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => {}
            Err(_) => self.pipe = None,
        }
        false
    }

    /// The worker is gone: its last words.
    pub(crate) fn last(&mut self, forward: &mut Forward) -> String {
        // A pipe holds 64 KiB; children of the worker may go on writing for ever.
        for _ in 0..32 {
            if !self.read(forward) {
                break;
            }
        }
        String::from_utf8_lossy(&self.tail).into_owned()
    }
}
