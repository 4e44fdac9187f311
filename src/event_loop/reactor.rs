//! From readiness of descriptors to wakers of tasks.
//!
//! 1. A source registers the first time an operation would block: once, for both
//!    directions, edge-triggered. It gets a [`SourceKey`].
//! 2. Until an event arrives, nothing is ready, and a future that asks is entered among the
//!    direction's [`Waiters`].
//! 3. An event makes its directions ready and hands out all their waiters to be
//!    woken. Readiness is remembered here: until it is cleared, operations go
//!    straight to the kernel.
//! 4. An operation that would block, or that read or wrote less than it was
//!    asked to, clears it: the kernel then owes us the next edge. After a short
//!    count no edge may follow: the other side has closed, or the count stopped at a mark of urgent
//!    data. Then the next future that asks is told to ask once more in the next turn, and may.
//! 5. A source that registers in order to read counts as ready to be written from the start. If it
//!    is not, the first write finds out, and the report that registering brings says when it is.
//!
//! All of this belongs to the loop's thread. Between a `WouldBlock` and the
//! clearing that follows no event can be taken in, so none is overwritten; that is
//! what runtimes with several threads need ticks for.
//!
//! - **L3** An event reaches only the source it was meant for: its token carries
//!   the generation of the slot (where a pointer has 64 bits; elsewhere a
//!   mistaken event costs one operation that would block).
//! - **L4** Wakers are cloned, woken and dropped by the caller, while nothing of
//!   the loop is borrowed: all three can run user code.
//!
//! A source is not deregistered: closing its descriptor does that. Where a duplicate
//! of it lives on (a child's standard input, say), what happens there still wakes the
//! loop, each time for nothing (L3); and should that duplicate come back under the number that
//! was closed, the system still has its entry, which the new source then takes over. The exception are descriptors that are lent and
//! stay open: those are deregistered at once, on whichever thread, because their number
//! may be registered again by the time that a note would be read.
//!
//! Checked by `tests/event_loop/`.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::Waker;
use std::time::Duration;

use rustix::io::Errno;
use slab::Slab;

use super::waiters::Waiters;
use crate::sys::poller::{Poller, Readiness, WAKE_TOKEN, Wait};

/// Names one registered source; stale after the source was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceKey {
    index: u32,
    generation: NonZeroU32,
}

/// Which half of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

pub(super) struct Reactor {
    sources: Slab<Source>,
    /// The next source's generation; never zero, so that no token is zero.
    generation: NonZeroU32,
    wait: Wait,
}

#[derive(Debug)]
struct Source {
    generation: NonZeroU32,
    fd: RawFd,
    ready: Readiness,
    read: Waiters,
    write: Waiters,
}

impl Reactor {
    pub(super) fn new(wait: Wait) -> Self {
        Self {
            sources: Slab::new(),
            generation: NonZeroU32::MIN,
            wait,
        }
    }

    /// `writable`: a write may be tried before the kernel has said so. An error if the system has the
    /// descriptor already.
    pub(super) fn register(
        &mut self,
        poller: &Poller,
        fd: BorrowedFd<'_>,
        writable: bool,
    ) -> io::Result<SourceKey> {
        self.enter(fd, writable, |token| poller.register(fd, token))
    }

    /// As `register`, where the system has said that it has the descriptor already: still
    /// an error if a source here has it, and not if that one is gone.
    pub(super) fn take_over(
        &mut self,
        poller: &Poller,
        fd: BorrowedFd<'_>,
        writable: bool,
    ) -> io::Result<SourceKey> {
        let number = fd.as_raw_fd();
        if self.sources.iter().any(|(_, source)| source.fd == number) {
            return Err(Errno::EXIST.into());
        }
        self.enter(fd, writable, |token| poller.register_again(fd, token))
    }

    fn enter(
        &mut self,
        fd: BorrowedFd<'_>,
        writable: bool,
        register: impl FnOnce(usize) -> io::Result<()>,
    ) -> io::Result<SourceKey> {
        let vacant = self.sources.vacant_entry();
        let key = SourceKey {
            index: u32::try_from(vacant.key()).map_err(|_| io::ErrorKind::OutOfMemory)?,
            generation: self.generation,
        };
        register(key.token())?;
        vacant.insert(Source {
            generation: self.generation,
            fd: fd.as_raw_fd(),
            ready: Readiness::WRITE.when(writable),
            read: Waiters::default(),
            write: Waiters::default(),
        });
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Ok(key)
    }

    /// Forgets a source; its waiters go to `woken`, to be dropped or woken.
    pub(super) fn remove(&mut self, key: SourceKey, woken: &mut Vec<Waker>) {
        if self.get(key).is_some() {
            let mut source = self.sources.remove(key.index as usize);
            source.read.take_all(woken);
            source.write.take_all(woken);
        }
    }

    /// An operation may be tried (also where the source is gone: the operation
    /// itself then says so).
    pub(super) fn is_ready(&mut self, key: SourceKey, direction: Direction) -> bool {
        self.get(key)
            .is_none_or(|source| source.ready.intersects(direction.ready()))
    }

    /// `number` waits already, with a waker as good as this one.
    pub(super) fn is_waiting(
        &mut self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        waker: &Waker,
    ) -> bool {
        self.get(key)
            .and_then(|source| source.waiters(direction).find(number))
            .is_some_and(|current| current.will_wake(waker))
    }

    /// Enters `number` with this waker; gives back what is no longer wanted.
    pub(super) fn set_waiter(
        &mut self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        waker: Waker,
    ) -> Option<Waker> {
        match self.get(key) {
            Some(source) => source.waiters(direction).set(number, waker),
            None => Some(waker),
        }
    }

    /// The operation would have blocked.
    pub(super) fn clear(&mut self, key: SourceKey, direction: Direction) {
        if let Some(source) = self.get(key) {
            let gone = direction.ready().or(direction.on());
            source.ready = source.ready.without(gone);
        }
    }

    /// The operation did less than it was asked to. `drained`: so the next would block, unless the
    /// kernel has said that no edge will follow.
    pub(super) fn clear_short(&mut self, key: SourceKey, direction: Direction, drained: bool) {
        if let Some(source) = self.get(key) {
            let on = direction.on().when(!drained);
            source.ready = source.ready.without(direction.ready()).or(on);
        }
    }

    /// An operation came out short, and no edge need follow: from now on the next one may be tried.
    pub(super) fn is_ready_next(&mut self, key: SourceKey, direction: Direction) -> bool {
        let source = self.get(key);
        source.is_some_and(|source| {
            let on = source.ready.intersects(direction.on());
            source.ready = source.ready.or(direction.ready().when(on));
            on
        })
    }

    /// Takes a waiter away whose future is dropped.
    pub(super) fn forget(
        &mut self,
        key: SourceKey,
        direction: Direction,
        number: u64,
    ) -> Option<Waker> {
        self.get(key)?.waiters(direction).remove(number)
    }

    /// Waits for events and moves the wakers of those concerned to `woken`.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
    ) -> io::Result<()> {
        self.wait.wait(timeout)?;
        for (token, ready) in self.wait.events() {
            if token == WAKE_TOKEN {
                continue;
            }
            deliver(&mut self.sources, token, ready, woken);
        }
        Ok(())
    }

    /// As if the kernel had reported it.
    #[cfg(all(test, not(loom)))]
    pub(super) fn pretend(&mut self, key: SourceKey, ready: Readiness, woken: &mut Vec<Waker>) {
        deliver(&mut self.sources, key.token(), ready, woken);
    }

    /// The next source gets this generation.
    #[cfg(all(test, not(loom)))]
    pub(super) fn skip_to_generation(&mut self, generation: NonZeroU32) {
        self.generation = generation;
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn count_waiters(&self) -> usize {
        let sources = self.sources.iter();
        sources
            .map(|(_, source)| source.read.len() + source.write.len())
            .sum()
    }

    /// No source is registered.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// A task waits.
    pub(super) fn has_waiters(&self) -> bool {
        self.sources
            .iter()
            .any(|(_, source)| !source.read.is_empty() || !source.write.is_empty())
    }

    /// All waiters.
    pub(super) fn take_all(&mut self, woken: &mut Vec<Waker>) {
        for (_, source) in &mut self.sources {
            source.read.take_all(woken);
            source.write.take_all(woken);
        }
    }

    fn get(&mut self, key: SourceKey) -> Option<&mut Source> {
        self.sources
            .get_mut(key.index as usize)
            .filter(|source| source.generation == key.generation)
    }
}

/// An event: the source that it is meant for is ready, and its waiters go to `woken`.
fn deliver(sources: &mut Slab<Source>, token: usize, ready: Readiness, woken: &mut Vec<Waker>) {
    // The lower half of a token is the index.
    let index = token as u32;
    let Some(source) = sources.get_mut(index as usize) else {
        return;
    };
    let key = SourceKey {
        index,
        generation: source.generation,
    };
    if key.token() != token {
        return; // L3: it was meant for an earlier source
    }
    source.ready = source.ready.or(ready);
    if ready.intersects(Readiness::READ) {
        source.read.take_all(woken);
    }
    if ready.intersects(Readiness::WRITE) {
        source.write.take_all(woken);
    }
}

impl Source {
    fn waiters(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl SourceKey {
    /// Where a pointer has 64 bits: the generation above the index.
    fn token(self) -> usize {
        ((u64::from(self.generation.get()) << 32) | u64::from(self.index)) as usize
    }
}

impl Direction {
    const fn ready(self) -> Readiness {
        match self {
            Self::Read => Readiness::READ,
            Self::Write => Readiness::WRITE,
        }
    }

    const fn on(self) -> Readiness {
        match self {
            Self::Read => Readiness::READ_ON,
            Self::Write => Readiness::WRITE_ON,
        }
    }
}
