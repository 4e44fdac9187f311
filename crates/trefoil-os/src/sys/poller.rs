//! Waiting for descriptors, through mio.
//!
//! mio registers descriptors, waits for them, and owns the wake-up descriptor, on every system that
//! it supports. Every source is registered once, for both directions, edge-triggered; its user
//! remembers which events were reported. The wake-up descriptor is edge-triggered, too, and never
//! read: a wake-up costs one write, and no read.
//!
//! A poller has two halves: any thread may use a [`Poller`]; the loop's thread alone has the
//! [`PollerWait`].
//!
//! What differs between systems is in `interest`: what is registered, how exactly a wait ends, and
//! how the next edge is requested where the system does not report edges by itself
//! ([`Poller::rearm`]).
//!
//! Rejected: the `polling` crate, whose one-shot interest costs one more call per operation and
//! whose wait costs five.
//!
//! Tests: below.

use std::io;
use std::time::Duration;

use mio::{Events, Poll, Registry, Token, Waker};
use rustix::fd::BorrowedFd;

use super::fork;
use super::interest::{self, CALLS, Sources};
use super::refused::refused;

/// How many events one wait returns; more stay in the kernel for the next wait.
const EVENTS: usize = 1024;

/// The token of the wake-up descriptor; no source has it.
const WAKE_TOKEN: usize = usize::MAX;

/// What an event says about one direction of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness {
    /// Whether the next call would not block.
    pub now: bool,
    /// Perhaps no further event follows, even after a call that did less than was asked for: the
    /// next call may not block either. (The peer has closed, the source has failed, or a read
    /// stopped at a mark of urgent data.)
    pub no_edge_follows: bool,
}

impl Readiness {
    /// If no edge follows, the direction counts as ready now.
    #[inline]
    pub fn new(now: bool, no_edge_follows: bool) -> Self {
        Self {
            now: now || no_edge_follows,
            no_edge_follows,
        }
    }
}

/// One set of watched descriptors, for any thread.
#[derive(Debug)]
pub struct Poller {
    pub(super) registry: Registry,
    sources: Sources,
    waker: Waker,
    /// The fork generation of the process that made it.
    generation: u32,
}

impl Poller {
    /// A poller, which many threads use, and what one of them waits with.
    pub fn new() -> io::Result<(Self, PollerWait)> {
        let poll = Poll::new().map_err(refused(CALLS[0]))?;
        let registry = poll.registry().try_clone().map_err(refused("fcntl"))?;
        let waker = Waker::new(&registry, Token(WAKE_TOKEN)).map_err(refused(CALLS[1]))?;
        let found = Events::with_capacity(EVENTS);
        let mut wait = PollerWait { poll, found };
        // If the system refuses waits, this returns the error, where it can be reported.
        wait.wait(Some(Duration::ZERO))?;
        fork::register_handler();
        let poller = Self {
            registry,
            sources: Sources::default(),
            waker,
            generation: fork::generation(),
        };
        Ok((poller, wait))
    }

    /// Ends the current wait, or the next one.
    #[inline]
    pub fn wake(&self) {
        let woken = self.waker.wake();
        debug_assert!(woken.is_ok(), "the loop's wake-up descriptor: {woken:?}");
    }

    /// Watches `fd` in both directions, edge-triggered. If it is ready already, the next wait
    /// reports that.
    pub fn register(&self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.sources.register(&self.registry, fd, token)
    }

    /// Stops watching `fd`. It is not an error if `fd` was not watched. A forked child shares its
    /// parent's set, and does not change it.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) {
        if self.generation != fork::generation() {
            return;
        }
        self.sources.unwatch(&self.registry, fd);
    }

    /// Requests the next edge of this source, after an operation that would have blocked, or may
    /// have left nothing behind.
    #[inline]
    pub fn rearm(&self, token: usize) {
        self.sources.rearm(token);
    }
}

/// Waits for the descriptors that a [`Poller`] watches, and has the events of the last wait.
#[derive(Debug)]
pub struct PollerWait {
    poll: Poll,
    found: Events,
}

impl PollerWait {
    /// Waits until something happens, at most for `timeout`. If nothing does, it may end early, by
    /// less than a millisecond, or after a day. An interrupted wait returns as if nothing had
    /// happened.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match interest::wait(&mut self.poll, &mut self.found, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.found.clear();
                Ok(())
            }
            result => result.map_err(refused(CALLS[2])),
        }
    }

    /// The events of the last wait: the token, and the readiness to read and to write.
    #[inline]
    pub fn events(&self) -> impl Iterator<Item = (usize, [Readiness; 2])> {
        self.found.iter().map(|event| {
            let failed = event.is_error();
            let no_read_edge = event.is_read_closed() || event.is_priority() || failed;
            let read = Readiness::new(event.is_readable(), no_read_edge);
            let write = Readiness::new(event.is_writable(), event.is_write_closed() || failed);
            (event.token().0, [read, write])
        })
    }
}

#[cfg(all(test, unix, not(loom)))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    #[test]
    fn what_is_reported_and_when() {
        let (poller, mut wait) = Poller::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        poller.register(far.as_fd(), 7).unwrap();
        wait.wait(Some(Duration::ZERO)).unwrap();
        let writable: Vec<_> = wait.events().collect();
        let write = Readiness::new(true, false);
        assert_eq!(writable, [(7, [Readiness::default(), write])]);

        for (pause, least) in [(300, 300), (2_300, 2_000)] {
            let start = Instant::now();
            wait.wait(Some(Duration::from_micros(pause))).unwrap();
            assert_eq!(wait.events().count(), 0, "edges are reported once");
            let waited = start.elapsed();
            assert!(waited >= Duration::from_micros(least), "early: {waited:?}");
        }

        near.write_all(b"x").unwrap();
        wait.wait(None).unwrap();
        let read = |wait: &PollerWait| wait.events().next().map(|(_, [read, _])| read);
        assert_eq!(read(&wait), Some(Readiness::new(true, false)));
        drop(near);
        // An event also ends a wait whose last part is waited for exactly.
        wait.wait(Some(Duration::from_micros(900))).unwrap();
        assert_eq!(read(&wait), Some(Readiness::new(true, true)));

        for timeout in [None, Some(Duration::MAX)] {
            poller.wake();
            wait.wait(timeout).unwrap();
            let token = wait.events().next().map(|(token, _)| token);
            assert_eq!(token, Some(WAKE_TOKEN));
        }
    }
}
