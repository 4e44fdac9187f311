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
//! A source that goes is deregistered at once, by the thread that drops it and before its descriptor is closed: a duplicate
//! may stay open (a child's standard input, say), and the number of one that is lent may be registered again by the time that
//! a note would be read.
//!
//! Checked by `tests/event_loop/`.

use std::io;
use std::num::NonZeroU32;
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::Duration;

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

struct Source {
    generation: NonZeroU32,
    /// By [`Direction`].
    halves: [Half; 2],
}

/// One direction of a source.
#[derive(Default)]
pub(super) struct Half {
    ready: Readiness,
    pub(super) waiters: Waiters,
}

/// What a future learns that wants to try an operation.
pub(super) enum Asked {
    /// It may.
    Ready,
    /// From the next turn on it may.
    Next,
    /// It waits already, with a waker as good as this one.
    Waits,
    /// It has to wait.
    Wait,
}

impl Reactor {
    pub(super) fn new(wait: Wait) -> Self {
        Self {
            sources: Slab::new(),
            generation: NonZeroU32::MIN,
            wait,
        }
    }

    /// `writable`: a write may be tried before the kernel has said so.
    pub(super) fn register(
        &mut self,
        poller: &Poller,
        fd: BorrowedFd<'_>,
        writable: bool,
    ) -> io::Result<SourceKey> {
        let vacant = self.sources.vacant_entry();
        let key = SourceKey {
            index: u32::try_from(vacant.key()).map_err(|_| io::ErrorKind::OutOfMemory)?,
            generation: self.generation,
        };
        poller.register(fd, key.token())?;
        let mut halves = [Half::default(), Half::default()];
        halves[Direction::Write as usize].ready.now = writable;
        vacant.insert(Source {
            generation: self.generation,
            halves,
        });
        self.generation = self.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        Ok(key)
    }

    /// Forgets a source; its waiters go to `woken`, to be dropped or woken.
    pub(super) fn remove(&mut self, key: SourceKey, woken: &mut Vec<Waker>) {
        if self.get(key).is_some() {
            self.sources.remove(key.index as usize).take_all(woken);
        }
    }

    /// One direction of a source, unless that is gone.
    pub(super) fn half(&mut self, key: SourceKey, direction: Direction) -> Option<&mut Half> {
        Some(&mut self.get(key)?.halves[direction as usize])
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
    pub(super) fn pretend(
        &mut self,
        key: SourceKey,
        ready: [Readiness; 2],
        woken: &mut Vec<Waker>,
    ) {
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
            .flat_map(|(_, source)| &source.halves)
            .map(|half| half.waiters.len())
            .sum()
    }

    /// No source is registered.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// A task waits.
    pub(super) fn has_waiters(&self) -> bool {
        let mut halves = self.sources.iter().flat_map(|(_, source)| &source.halves);
        halves.any(|half| !half.waiters.is_empty())
    }

    /// All waiters.
    pub(super) fn take_all(&mut self, woken: &mut Vec<Waker>) {
        for (_, source) in &mut self.sources {
            source.take_all(woken);
        }
    }

    fn get(&mut self, key: SourceKey) -> Option<&mut Source> {
        self.sources
            .get_mut(key.index as usize)
            .filter(|source| source.generation == key.generation)
    }
}

impl Half {
    /// May an operation be tried?
    pub(super) fn ask(&mut self, number: u64, waker: &Waker) -> Asked {
        if self.ready.now {
            return Asked::Ready;
        }
        if self.ready.on {
            self.ready.now = true;
            return Asked::Next;
        }
        match self.waiters.find(number) {
            Some(current) if current.will_wake(waker) => Asked::Waits,
            _ => Asked::Wait,
        }
    }

    /// The operation would have blocked.
    pub(super) fn clear(&mut self) {
        self.ready = Readiness::default();
    }

    /// The operation did less than it was asked to. `drained`: so the next would block, unless the
    /// kernel has said that no edge will follow.
    pub(super) fn clear_short(&mut self, drained: bool) {
        self.ready.now = false;
        self.ready.on |= !drained;
    }
}

/// An event: the source that it is meant for is ready, and its waiters go to `woken`.
fn deliver(
    sources: &mut Slab<Source>,
    token: usize,
    ready: [Readiness; 2],
    woken: &mut Vec<Waker>,
) {
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
    for (half, ready) in source.halves.iter_mut().zip(ready) {
        half.ready.on |= ready.on;
        if ready.now {
            half.ready.now = true;
            half.waiters.take_all(woken);
        }
    }
}

impl Source {
    fn take_all(&mut self, woken: &mut Vec<Waker>) {
        for half in &mut self.halves {
            half.waiters.take_all(woken);
        }
    }
}

impl SourceKey {
    /// Where a pointer has 64 bits: the generation above the index.
    fn token(self) -> usize {
        ((u64::from(self.generation.get()) << 32) | u64::from(self.index)) as usize
    }
}
