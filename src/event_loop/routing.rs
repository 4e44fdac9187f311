//! How other threads, and the loop's own, reach a loop.
//!
//! Each function checks which loop runs on this thread ([`entered_loop`]). If it is the target, the
//! work goes straight into the loop's cells; otherwise it goes into the inbox, or a note is sent
//! (see [`super::shared`]).
//!
//! Tests: `tests/event_loop/threads.rs::{no_spawn_from_eight_threads_is_lost,
//! spawns_that_race_with_the_end_all_end}`,
//! `tests/event_loop/handles.rs::a_loop_that_is_driven_hears_of_a_future_from_outside`.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Instant;

use rustix::fd::BorrowedFd;

use super::entered_loop;
use super::reactor::{Direction, SourceKey};
use super::shared::{Note, ROOT_WOKEN, SharedLoop, this_thread};
use crate::task::{Runnable, Schedule};
use crate::timer::{Clock, Timekeeper, TimerKey};

impl SharedLoop {
    /// Queues the root future.
    pub(super) fn wake_root(&self) {
        match entered_loop::local_of(self) {
            Some(local) => local.wake_root(),
            None => self.raise(ROOT_WOKEN),
        }
    }

    /// Called when a future has another deadline, and its loop does not run on this thread: wakes
    /// its task, which waits for the timer of the old one.
    pub(crate) fn wake_timer(&self, key: TimerKey) {
        self.send_note(Note::Wake(key));
    }

    /// Called when a source is dropped: its descriptor is no longer watched, and the loop removes
    /// its entry later.
    pub(crate) fn remove_source(&self, key: SourceKey, fd: BorrowedFd<'_>) {
        if let Some(poller) = self.poller.upgrade() {
            poller.unwatch(fd);
        }
        match entered_loop::local_of(self) {
            Some(local) => local.remove(key),
            None => self.send_note(Note::Remove(key)),
        }
    }

    /// Called when a future that waited for a source is dropped.
    pub(crate) fn forget_waiter(&self, key: SourceKey, direction: Direction, number: u64) {
        match entered_loop::local_of(self) {
            Some(local) => local.forget(key, direction, number),
            None => self.send_note(Note::Forget(key, direction, number)),
        }
    }
}

/// The waker of the root future.
impl Wake for SharedLoop {
    fn wake(self: Arc<Self>) {
        self.wake_root();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_root();
    }
}

impl Schedule for Arc<SharedLoop> {
    fn schedule(&self, runnable: Runnable) {
        match entered_loop::local_of(self) {
            Some(local) => local.enqueue(runnable),
            None => self.push(runnable),
        }
    }

    #[inline]
    fn is_owner_thread(&self) -> bool {
        self.is_here() || self.owner.id() == this_thread()
    }

    /// A woken task goes straight into the queue of its loop, which runs it.
    const RUNNER_QUEUES: bool = true;

    /// That in the table.
    const KEPT: Option<u32> = Some(1);
}

/// A loop is the timekeeper of its thread while it runs.
impl Timekeeper for SharedLoop {
    fn clock(&self) -> Option<&Arc<Clock>> {
        SharedLoop::clock(self)
    }

    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        let local = entered_loop::local_of(self)
            .expect("installed on this thread only while the loop runs here");
        local.arm(deadline, waker)
    }

    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        entered_loop::local_of(self).is_some_and(|local| local.refresh(key, waker))
    }

    fn renew_budget(&self) -> bool {
        entered_loop::local_of(self).is_some_and(|local| local.budget.renew())
    }

    #[inline]
    fn disarm(&self, key: TimerKey) {
        if self.is_here() {
            drop(entered_loop::with(|local| local.take_timer(key)));
        } else {
            self.send_note(Note::Disarm(key));
        }
    }
}
