//! The loop's descriptors, seen from its own thread.
//!
//! The reactor knows which sources are ready and which wakers wait. This file clones wakers before
//! it calls the reactor, and wakes and drops them afterwards (L4).
//!
//! Tests: `tests/io/dropped.rs::streams_lose_nothing`,
//! `tests/event_loop/wakers.rs::they_may_do_anything_when_they_are_called_or_dropped`; against a
//! simulated kernel, `src/io/source/simulated.rs`.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::fd::BorrowedFd;

use super::super::reactor::{Asked, Direction, DirectionState, SourceKey};
use super::Local;
use crate::events;
use crate::events::{READ, WRITE};
use crate::task::panic::contain;

impl Local {
    /// Registers a descriptor. `writable`: a write may be tried before the kernel has reported an
    /// event.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, writable: bool) -> io::Result<SourceKey> {
        let mut reactor = self.reactor.borrow_mut();
        reactor.register(&self.poller, fd, writable)
    }

    /// `Ready` when an operation may be tried. Otherwise the task is registered under `number`, or
    /// woken at once if it has to wait only for the next turn.
    pub(crate) fn poll_ready(
        &self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        cx: &Context<'_>,
    ) -> Poll<()> {
        match self.with_half(key, direction, DirectionState::ask) {
            // If the source is gone, the operation itself fails.
            Some(Asked::Ready) | None => return Poll::Ready(()),
            Some(Asked::Next) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Asked::Wait) => {}
        }
        self.wait_for_event(key, direction, number, cx);
        Poll::Pending
    }

    /// `Ready` once for each event of a direction that is ready. Otherwise the task is registered
    /// under `number`.
    pub(crate) fn poll_new_event(
        &self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        cx: &Context<'_>,
    ) -> Poll<()> {
        self.poller.rearm(key.0);
        if self.with_half(key, direction, DirectionState::is_new) == Some(false) {
            self.wait_for_event(key, direction, number, cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn wait_for_event(&self, key: SourceKey, direction: Direction, number: u64, cx: &Context<'_>) {
        events::waits_for(match direction {
            Direction::Read => READ,
            Direction::Write => WRITE,
        });
        let waker = cx.waker().clone();
        let earlier = self.with_half(key, direction, |half| half.waiters.set(number, waker));
        if let Some(clock) = self.virtual_clock()
            && matches!(earlier, Some(None))
        {
            clock.note_activity(); // this task did not wait before
        }
        drop(earlier);
    }

    pub(crate) fn clear(&self, key: SourceKey, direction: Direction) {
        self.with_half(key, direction, DirectionState::clear);
        self.poller.rearm(key.0);
    }

    pub(crate) fn clear_short(&self, key: SourceKey, direction: Direction, drained: bool) {
        self.with_half(key, direction, |half| half.clear_short(drained));
        self.poller.rearm(key.0);
    }

    /// Removes a waiter whose future was dropped.
    pub(crate) fn forget(&self, key: SourceKey, direction: Direction, number: u64) {
        let waker = self.with_half(key, direction, |half| half.waiters.remove(number));
        drop(waker);
    }

    /// Calls `f` with one direction of a source. `None`: the source is gone. `f` must neither run
    /// nor drop user code (L4).
    fn with_half<R>(
        &self,
        key: SourceKey,
        direction: Direction,
        f: impl FnOnce(&mut DirectionState) -> R,
    ) -> Option<R> {
        // If the source is gone, `f` and the waker that it may hold are dropped after `reactor`,
        // because parameters are dropped last.
        let mut reactor = self.reactor.borrow_mut();
        Some(f(reactor.half(key, direction)?))
    }

    pub(crate) fn remove(&self, key: SourceKey) {
        let mut woken = Vec::new();
        self.reactor.borrow_mut().remove(key, &mut woken);
        // A dropped source cannot be used, but a future of it that still exists may try again.
        for waker in woken {
            contain(|| waker.wake());
        }
    }

    /// A number for one future's entry among the waiters; never 0.
    pub(crate) fn next_number(&self) -> u64 {
        let number = self.numbers.get();
        self.numbers.set(number + 1);
        number
    }

    /// Waits in the kernel, and takes the wakers of the sources that became ready. In a forked
    /// child, does not wait, because it would take the parent's events: it takes all wakers, and
    /// what they wake fails.
    pub(in crate::event_loop) fn turn_reactor(&self, timeout: Option<Duration>) -> io::Result<()> {
        let woken = &mut self.woken.borrow_mut();
        let mut reactor = self.reactor.borrow_mut();
        if self.shared.is_foreign() {
            reactor.take_all(woken);
            return Ok(());
        }
        reactor.turn(timeout, woken)
    }

    /// Whether [`turn_reactor`](Self::turn_reactor) has something to wait for, or to wake.
    pub(in crate::event_loop) fn has_sources(&self) -> bool {
        let reactor = self.reactor.borrow();
        if self.shared.is_foreign() {
            reactor.has_waiters()
        } else {
            !reactor.is_empty()
        }
    }

    /// Whether a task waits for a descriptor.
    pub(in crate::event_loop) fn waits_for_descriptors(&self) -> bool {
        self.reactor.borrow().has_waiters()
    }
}
