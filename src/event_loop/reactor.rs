//! From readiness of descriptors to wakers of tasks.
//!
//! 1. A source registers the first time an operation would block: once, for both directions,
//!    edge-triggered. It gets a [`SourceKey`].
//! 2. Until an event arrives, nothing is ready, and a future that asks is entered among the
//!    direction's [`SourceWaiters`].
//! 3. An event makes its directions ready and takes all their waiters to be woken. Readiness is
//!    stored here: until it is cleared, operations go straight to the kernel.
//! 4. An operation that would block, or that read or wrote less than it was asked to, clears the
//!    readiness: the kernel will then report the next edge. After a short count there may be no
//!    further edge: the other side has closed, or the count stopped at urgent data. Then the next
//!    future that asks must ask once more in the next turn, and may then try.
//! 5. A source that registers in order to read counts as ready for writing from the start. If it is
//!    not, the first write finds out, and the event that follows the registration reports when it
//!    is.
//! 6. A question that the kernel answers with an error alone is answered once for each event.
//!    Operations do not wait because of that.
//!
//! All of this belongs to the loop's thread. No event can be processed between a `WouldBlock` and
//! the clearing that follows it, so none is overwritten. (Runtimes with several threads need ticks
//! for that.)
//!
//! - An event reaches only the source it is for: a source is deregistered before its slot is
//!   reused, and an event is processed as soon as it is fetched. (A misdirected event would cost
//!   only an operation that would block.)
//! - **L4** Wakers are cloned, woken and dropped by the caller, while nothing of the loop is
//!   borrowed: all three can run user code.
//!
//! A dropped source is deregistered at once, by the thread that drops it and before its descriptor
//! is closed: a duplicate may stay open (a child's standard input, say), and the number of a lent
//! one may be registered again before a note would be read.
//!
//! Tests: `tests/io/transfer.rs::{a_read_that_stops_at_urgent_data_does_not_strand_what_follows,
//! bytes_after_a_short_read_are_reported_although_not_watched_yet}`,
//! `tests/io/faults.rs::a_number_that_was_watched_before_can_be_watched_again`.

use std::io;
use std::mem;
use std::task::Waker;
use std::time::Duration;

use rustix::fd::BorrowedFd;
use slab::Slab;

use super::source_waiters::SourceWaiters;
use crate::sys::poller::{Poller, PollerWait, Readiness};

/// Identifies one registered source until it is removed; also its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceKey(pub(super) usize);

/// One of the two directions of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

pub(super) struct Reactor {
    /// Each source's two halves, by [`Direction`].
    sources: Slab<[DirectionState; 2]>,
    wait: PollerWait,
}

/// One direction of a source.
#[derive(Default)]
pub(super) struct DirectionState {
    ready: Readiness,
    /// Whether a future that only asks, and makes no operation, has been answered by the latest
    /// event.
    has_answered: bool,
    pub(super) waiters: SourceWaiters,
}

/// The answer to a future that wants to try an operation.
pub(super) enum Asked {
    /// The future may try now.
    Ready,
    /// The future may try in the next turn.
    Next,
    /// The future has to wait for an event.
    Wait,
}

impl Reactor {
    pub(super) fn new(wait: PollerWait) -> Self {
        Self {
            sources: Slab::new(),
            wait,
        }
    }

    /// Registers a source. `writable`: a write may be tried before the kernel has reported an
    /// event.
    pub(super) fn register(
        &mut self,
        poller: &Poller,
        fd: BorrowedFd<'_>,
        writable: bool,
    ) -> io::Result<SourceKey> {
        let vacant = self.sources.vacant_entry();
        let key = SourceKey(vacant.key());
        poller.register(fd, key.0)?;
        let mut halves = [DirectionState::default(), DirectionState::default()];
        halves[Direction::Write as usize].ready.now = writable;
        vacant.insert(halves);
        Ok(key)
    }

    /// Removes a source. Its waiters go to `woken`, for the caller to drop or wake.
    pub(super) fn remove(&mut self, key: SourceKey, woken: &mut Vec<Waker>) {
        for mut half in self.sources.try_remove(key.0).into_iter().flatten() {
            half.waiters.take_all(woken);
        }
    }

    /// One direction of a source, unless that is gone.
    pub(super) fn half(
        &mut self,
        key: SourceKey,
        direction: Direction,
    ) -> Option<&mut DirectionState> {
        Some(&mut self.sources.get_mut(key.0)?[direction as usize])
    }

    /// Waits for events and moves the wakers of their waiters to `woken`.
    pub(super) fn turn(
        &mut self,
        timeout: Option<Duration>,
        woken: &mut Vec<Waker>,
    ) -> io::Result<()> {
        self.wait.wait(timeout)?;
        for (token, ready) in self.wait.events() {
            // (The token of a wake-up is no source's.)
            mark_ready(&mut self.sources, token, ready, woken);
        }
        Ok(())
    }

    /// Acts as if the kernel had reported this event.
    #[cfg(all(test, not(loom)))]
    pub(super) fn pretend(
        &mut self,
        key: SourceKey,
        ready: [Readiness; 2],
        woken: &mut Vec<Waker>,
    ) {
        mark_ready(&mut self.sources, key.0, ready, woken);
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn count_waiters(&self) -> usize {
        let sources = self.sources.iter();
        sources
            .flat_map(|(_, halves)| halves)
            .map(|half| half.waiters.len())
            .sum()
    }

    /// Whether no source is registered.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether a task waits.
    pub(super) fn has_waiters(&self) -> bool {
        let waits = |half: &DirectionState| !half.waiters.is_empty();
        self.sources
            .iter()
            .any(|(_, halves)| halves.iter().any(waits))
    }

    /// Moves all waiters into `woken`.
    pub(super) fn take_all(&mut self, woken: &mut Vec<Waker>) {
        for half in self.sources.iter_mut().flat_map(|(_, halves)| halves) {
            half.waiters.take_all(woken);
        }
    }
}

impl DirectionState {
    /// Whether an operation may be tried now.
    pub(super) fn ask(&mut self) -> Asked {
        if self.ready.now {
            Asked::Ready
        } else if self.ready.no_edge_follows {
            self.ready.now = true;
            Asked::Next
        } else {
            Asked::Wait
        }
    }

    /// Notes that an operation would have blocked.
    pub(super) fn clear(&mut self) {
        self.ready = Readiness::default();
    }

    /// Whether this is the first call since the latest event.
    pub(super) fn is_new(&mut self) -> bool {
        !mem::replace(&mut self.has_answered, true)
    }

    /// Notes that an operation had a short count. `drained`: the next operation would block, unless
    /// the kernel has reported that no edge will follow.
    pub(super) fn clear_short(&mut self, drained: bool) {
        self.ready.now = false;
        self.ready.no_edge_follows |= !drained;
    }
}

/// Marks the source of an event as ready, and moves its waiters into `woken`.
fn mark_ready(
    sources: &mut Slab<[DirectionState; 2]>,
    token: usize,
    ready: [Readiness; 2],
    woken: &mut Vec<Waker>,
) {
    let Some(halves) = sources.get_mut(token) else {
        return;
    };
    for (half, ready) in halves.iter_mut().zip(ready) {
        half.ready.no_edge_follows |= ready.no_edge_follows;
        if ready.now {
            half.ready.now = true;
            half.has_answered = false;
            half.waiters.take_all(woken);
        }
    }
}
