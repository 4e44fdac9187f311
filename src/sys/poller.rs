//! Waiting for descriptors: registration through mio, the wait itself exact.
//!
//! mio registers descriptors and owns the wake-up descriptor, on every system
//! it knows. Its wait rounds up to a millisecond, though, so on Linux the wait is
//! ours: the same `epoll` descriptor, through rustix, which takes nanoseconds
//! (`epoll_pwait2`, Linux 5.11). Where the kernel or a filter does not know that
//! call, mio's wait takes its place. Either way a turn costs one system call.
//!
//! Every source is registered once, for both directions, edge-triggered; who
//! uses it remembers what it was told. The wake-up descriptor is edge-triggered
//! too and never read: to wake costs one write, to be woken nothing.
//!
//! Rejected: the `polling` crate, whose one-shot interest costs one more call
//! per operation and whose wait costs five on Linux.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use super::refused::refused;

/// How many events one wait takes in; more stay in the kernel for the next.
const EVENTS: usize = 1024;

#[cfg(target_os = "linux")]
const INTERESTS: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const INTERESTS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The token of the wake-up descriptor; no source has it.
pub(crate) const WAKE_TOKEN: usize = usize::MAX;

/// What is known about a source: which calls would not block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Readiness(u8);

impl Readiness {
    pub(crate) const READ: Self = Self(1);
    pub(crate) const WRITE: Self = Self(2);
    /// A short read does not mean that the next one would block, nor will an
    /// event follow: the peer has closed, the source has failed, or the read
    /// stopped at a mark of urgent data.
    pub(crate) const READ_ON: Self = Self(4);
    /// The same for writes: closed or failed.
    pub(crate) const WRITE_ON: Self = Self(8);

    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self(0) }
    }

    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One set of watched descriptors.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    /// What mio's wait found.
    found: Events,
    exact: exact::Wait,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let mut poller = Self {
            poll: Poll::new().map_err(refused("epoll_create1"))?,
            found: Events::with_capacity(EVENTS),
            exact: exact::Wait::new(),
        };
        // Who cannot wait learns it here, where it is an error.
        poller.wait(Some(Duration::ZERO))?;
        Ok(poller)
    }

    /// The waker of this poller's `wait`; one for each poller.
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), Token(WAKE_TOKEN))
            .map_err(refused("eventfd2 or epoll_ctl"))
    }

    /// Watches `fd` until it is closed, both directions, edge-triggered. What is
    /// ready already is reported by the next wait.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.poll
            .registry()
            .register(&mut SourceFd(&fd.as_raw_fd()), Token(token), INTERESTS)
    }

    /// As `register`, for a descriptor that is watched already: under this token from now on.
    pub(crate) fn register_again(&self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.poll
            .registry()
            .reregister(&mut SourceFd(&fd.as_raw_fd()), Token(token), INTERESTS)
    }

    /// A way to end a watch from any thread; it has a descriptor of its own.
    pub(crate) fn unwatch(&self) -> io::Result<Unwatch> {
        self.poll.registry().try_clone().map(Unwatch)
    }

    /// Waits until something happens, at most for `timeout` and, unless something
    /// did, never less. An interrupted wait is one in which nothing happened.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if let Some(result) = self.exact.wait(&self.poll, timeout) {
            return result;
        }
        match self.poll.poll(&mut self.found, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.found.clear();
                Ok(())
            }
            result => result.map_err(refused("epoll_wait")),
        }
    }

    /// What the last wait found: token and readiness.
    pub(crate) fn events(&self) -> impl Iterator<Item = (usize, Readiness)> {
        let found = self.found.iter().map(|event| {
            let read = if event.is_read_closed() || event.is_priority() || event.is_error() {
                Readiness::READ.or(Readiness::READ_ON)
            } else {
                Readiness::READ.when(event.is_readable())
            };
            let write = if event.is_write_closed() || event.is_error() {
                Readiness::WRITE.or(Readiness::WRITE_ON)
            } else {
                Readiness::WRITE.when(event.is_writable())
            };
            (event.token().0, read.or(write))
        });
        self.exact.events().chain(found)
    }
}

/// Readable when an event is there.
impl AsRawFd for Poller {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

/// Ends watches of descriptors that stay open.
#[derive(Debug)]
pub(crate) struct Unwatch(Registry);

impl Unwatch {
    /// `fd` is no longer watched. That it never was is no error.
    pub(crate) fn end(&self, fd: BorrowedFd<'_>) {
        let _ = self.0.deregister(&mut SourceFd(&fd.as_raw_fd()));
    }
}

#[cfg(target_os = "linux")]
mod exact {
    use super::{Duration, EVENTS, Poll, Readiness, io};
    use rustix::buffer::spare_capacity;
    use rustix::event::Timespec;
    use rustix::event::epoll::{self, Event, EventFlags};
    use rustix::io::Errno;

    /// `epoll_pwait2` on mio's descriptor.
    pub(super) struct Wait {
        /// `None` once the system has refused the call.
        found: Option<Vec<Event>>,
    }

    impl Wait {
        pub(super) fn new() -> Self {
            Self {
                // Miri does not know the call.
                found: (!cfg!(miri)).then(|| Vec::with_capacity(EVENTS)),
            }
        }

        /// `None`: the system does not have this wait.
        pub(super) fn wait(
            &mut self,
            poll: &Poll,
            timeout: Option<Duration>,
        ) -> Option<io::Result<()>> {
            let found = self.found.as_mut()?;
            // Past the range of the kernel's type: practically for ever.
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            found.clear();
            match epoll::wait(poll.registry(), spare_capacity(found), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => Some(Ok(())),
                Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {
                    self.found = None;
                    None
                }
                Err(error) => Some(Err(error.into())),
            }
        }

        /// As if the system had refused it.
        #[cfg(test)]
        pub(super) fn refuse(&mut self) {
            self.found = None;
        }

        pub(super) fn events(&self) -> impl Iterator<Item = (usize, Readiness)> {
            self.found.iter().flatten().map(|event| {
                let data = event.data;
                (data.u64() as usize, readiness(event.flags))
            })
        }
    }

    fn readiness(flags: EventFlags) -> Readiness {
        let write_on = EventFlags::HUP | EventFlags::ERR;
        let read_on = EventFlags::RDHUP | EventFlags::PRI | write_on;
        let readable = EventFlags::IN | read_on;
        let writable = EventFlags::OUT | write_on;
        Readiness::READ
            .when(flags.intersects(readable))
            .or(Readiness::READ_ON.when(flags.intersects(read_on)))
            .or(Readiness::WRITE.when(flags.intersects(writable)))
            .or(Readiness::WRITE_ON.when(flags.intersects(write_on)))
    }

    impl std::fmt::Debug for Wait {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Wait")
                .field("exact", &self.found.is_some())
                .finish()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod exact {
    use super::{Duration, Poll, Readiness, io};

    /// Only Linux has an own wait.
    #[derive(Debug)]
    pub(super) struct Wait;

    impl Wait {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn wait(&mut self, _: &Poll, _: Option<Duration>) -> Option<io::Result<()>> {
            None
        }

        pub(super) fn events(&self) -> impl Iterator<Item = (usize, Readiness)> {
            std::iter::empty()
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    /// The same for both waits: what is reported, and that none is early.
    fn reports(mut poller: Poller, resolution: Duration) {
        let (mut near, far) = UnixStream::pair().unwrap();
        poller.register(far.as_fd(), 7).unwrap();
        poller.wait(Some(Duration::ZERO)).unwrap();
        let writable: Vec<_> = poller.events().collect();
        assert_eq!(writable, [(7, Readiness::WRITE)]);

        let start = Instant::now();
        let pause = Duration::from_micros(300);
        poller.wait(Some(pause)).unwrap();
        assert_eq!(poller.events().count(), 0, "edges are reported once");
        let waited = start.elapsed();
        assert!(waited >= pause, "early: {waited:?}");
        assert!(waited < pause + resolution + Duration::from_secs(1));

        near.write_all(b"x").unwrap();
        poller.wait(None).unwrap();
        assert!(
            poller
                .events()
                .all(|(_, ready)| !ready.intersects(Readiness::READ_ON))
        );
        assert!(
            poller
                .events()
                .any(|(_, ready)| ready.intersects(Readiness::READ))
        );
        drop(near);
        poller.wait(None).unwrap();
        assert!(
            poller
                .events()
                .any(|(_, ready)| ready.intersects(Readiness::READ_ON))
        );

        let waker = poller.waker().unwrap();
        for _ in 0..2 {
            waker.wake().unwrap();
            poller.wait(None).unwrap();
            assert_eq!(
                poller.events().next().map(|(token, _)| token),
                Some(WAKE_TOKEN)
            );
        }
    }

    #[test]
    fn the_exact_wait() {
        reports(Poller::new().unwrap(), Duration::ZERO);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_wait_of_mio_in_its_place() {
        let mut poller = Poller::new().unwrap();
        poller.exact.refuse();
        reports(poller, Duration::from_millis(1));
    }
}
