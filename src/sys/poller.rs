//! Waiting for descriptors, through mio.
//!
//! mio registers descriptors, waits for them, and owns the wake-up descriptor, on every system that
//! it knows. Every source is registered once, for both directions, edge-triggered; its user
//! remembers what it was told. The wake-up descriptor is edge-triggered, too, and never read: to
//! wake costs one write, to be woken nothing.
//!
//! A poller has two halves: any thread may use a [`Poller`]; the loop's thread alone has the
//! [`Wait`].
//!
//! What differs between systems is in `watch`: what is registered, how exactly a wait ends, and,
//! where the system does not report edges by itself, that it is asked for the next one
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
use super::refused::refused;
use super::watch::{self, CALLS, Sources};

/// How many events one wait takes in; more stay in the kernel for the next.
const EVENTS: usize = 1024;

/// The token of the wake-up descriptor; no source has it.
const WAKE_TOKEN: usize = usize::MAX;

/// What is known of one direction of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness {
    /// A call would not block.
    pub(crate) now: bool,
    /// A call that did less than was asked for does not mean that nothing is left: the next one
    /// may not block either, and no event may follow. (The peer has closed, the source has
    /// failed, or a read stopped at a mark of urgent data.)
    pub(crate) on: bool,
}

impl Readiness {
    pub(crate) fn new(now: bool, on: bool) -> Self {
        Self { now: now || on, on }
    }
}

/// One set of watched descriptors, for any thread.
#[derive(Debug)]
pub(crate) struct Poller {
    registry: Registry,
    sources: Sources,
    waker: Waker,
    /// The process that made it.
    generation: u32,
}

impl Poller {
    pub(crate) fn new() -> io::Result<(Self, Wait)> {
        let poll = Poll::new().map_err(refused(CALLS[0]))?;
        let registry = poll.registry().try_clone().map_err(refused("fcntl"))?;
        let waker = Waker::new(&registry, Token(WAKE_TOKEN)).map_err(refused(CALLS[1]))?;
        let found = Events::with_capacity(EVENTS);
        let mut wait = Wait { poll, found };
        // A system that refuses to wait says so here, where it is an error.
        wait.wait(Some(Duration::ZERO))?;
        fork::watch();
        let poller = Self {
            registry,
            sources: Sources::default(),
            waker,
            generation: fork::generation(),
        };
        Ok((poller, wait))
    }

    /// Ends the wait that goes on, or the next one.
    pub(crate) fn wake(&self) {
        let woken = self.waker.wake();
        debug_assert!(woken.is_ok(), "the loop's wake-up descriptor: {woken:?}");
    }

    /// Watches `fd`, both directions, edge-triggered. What is
    /// ready already is reported by the next wait.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.sources.register(&self.registry, fd, token)
    }

    #[cfg(unix)]
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// `fd` is no longer watched. That it never was is no error. A forked child has its parent's
    /// set, and changes nothing in it.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>) {
        if self.generation != fork::generation() {
            return;
        }
        self.sources.unwatch(&self.registry, fd);
    }

    /// An operation on this source would have blocked, or may have left nothing behind: the next
    /// edge is owed.
    #[inline]
    pub(crate) fn rearm(&self, token: usize) {
        self.sources.rearm(token);
    }
}

/// The wait for what a [`Poller`] watches, and what the last one found.
#[derive(Debug)]
pub(crate) struct Wait {
    poll: Poll,
    found: Events,
}

impl Wait {
    /// Waits until something happens, at most for `timeout`. If nothing does, it may end early by
    /// less than a millisecond. An interrupted wait is one in which nothing happened.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match watch::wait(&mut self.poll, &mut self.found, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.found.clear();
                Ok(())
            }
            result => result.map_err(refused(CALLS[2])),
        }
    }

    /// What the last wait found: token and readiness, to read and to write.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, [Readiness; 2])> {
        self.found.iter().map(|event| {
            let failed = event.is_error();
            let read_on = event.is_read_closed() || event.is_priority() || failed;
            let read = Readiness::new(event.is_readable(), read_on);
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
        let read = |wait: &Wait| wait.events().next().map(|(_, [read, _])| read);
        assert_eq!(read(&wait), Some(Readiness::new(true, false)));
        drop(near);
        // Also a wait of which the last part is exact is ended by an event.
        wait.wait(Some(Duration::from_micros(900))).unwrap();
        assert_eq!(read(&wait), Some(Readiness::new(true, true)));

        for _ in 0..2 {
            poller.wake();
            wait.wait(None).unwrap();
            let token = wait.events().next().map(|(token, _)| token);
            assert_eq!(token, Some(WAKE_TOKEN));
        }
    }
}
