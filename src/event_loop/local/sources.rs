//! The loop's descriptors, seen from its own thread.
//!
//! The reactor knows what is ready and which wakers wait; here wakers are cloned before it is asked, and woken and dropped
//! after (L4).
//!
//! Checked by `tests/event_loop/`, and against a simulated kernel by `checks/inside/source_simulated.rs`.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::reactor::{Asked, Direction, SourceKey};
use super::super::task_table::{READ, WRITE};
use super::Local;
use crate::task::panic::contain;

impl Local {
    /// `writable`: a write may be tried before the kernel has said so.
    pub(crate) fn register(&self, fd: BorrowedFd<'_>, writable: bool) -> io::Result<SourceKey> {
        let register = |again| {
            let mut reactor = self.reactor.borrow_mut();
            reactor.register(&self.poller, fd, writable, again)
        };
        match register(false) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A source that was dropped elsewhere is gone only once its note is read.
                self.follow_notes();
                register(true)
            }
            registered => registered,
        }
    }

    /// `Ready` once an operation may be tried; until then the task is entered
    /// under `number`, or is woken at once, if all that it has to wait for is the next turn.
    pub(crate) fn poll_ready(
        &self,
        key: SourceKey,
        direction: Direction,
        number: u64,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let asked = {
            let mut reactor = self.reactor.borrow_mut();
            reactor.ask(key, direction, number, cx.waker())
        };
        match asked {
            Asked::Ready => return Poll::Ready(()),
            Asked::Next => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Asked::Waits | Asked::Wait => self.waits_for(match direction {
                Direction::Read => READ,
                Direction::Write => WRITE,
            }),
        }
        if let Asked::Waits = asked {
            return Poll::Pending;
        }
        if let Some(outside) = &self.outside {
            outside.stir();
        }
        let waker = cx.waker().clone();
        let old = self
            .reactor
            .borrow_mut()
            .set_waiter(key, direction, number, waker);
        drop(old);
        Poll::Pending
    }

    pub(crate) fn clear(&self, key: SourceKey, direction: Direction) {
        self.reactor.borrow_mut().clear(key, direction);
    }

    pub(crate) fn clear_short(&self, key: SourceKey, direction: Direction, drained: bool) {
        let mut reactor = self.reactor.borrow_mut();
        reactor.clear_short(key, direction, drained);
    }

    pub(crate) fn forget(&self, key: SourceKey, direction: Direction, number: u64) {
        let waker = self.reactor.borrow_mut().forget(key, direction, number);
        drop(waker);
    }

    pub(crate) fn remove(&self, key: SourceKey) {
        let mut woken = Vec::new();
        self.reactor.borrow_mut().remove(key, &mut woken);
        // A dropped source cannot be used; a future of it that is still there may look again.
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

    /// Waits in the kernel; the wakers of what happened are then on their way.
    pub(in crate::event_loop) fn turn_reactor(&self, timeout: Option<Duration>) -> io::Result<()> {
        let woken = &mut self.woken.borrow_mut();
        self.reactor.borrow_mut().turn(timeout, woken)
    }

    /// No descriptor is watched.
    pub(in crate::event_loop) fn watches_nothing(&self) -> bool {
        self.reactor.borrow().is_empty()
    }

    /// A task waits for a descriptor.
    pub(in crate::event_loop) fn waits_for_descriptors(&self) -> bool {
        self.reactor.borrow().has_waiters()
    }
}
