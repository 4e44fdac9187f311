//! The loop's timers, seen from its own thread.
//!
//! Wakers are cloned before a timer is looked for, and dropped after (L4). A removed timer was due,
//! or its loop has ended: either way the future continues.
//!
//! Checked by `tests/event_loop/`, the timers themselves by their own tests.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::outside::Outside;
use super::super::task_table::TIMER;
use super::Local;
use crate::alarm::{self, TimerKey};
use crate::task::awaited;

impl Local {
    /// The time on this loop.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.shared.now()
    }

    /// What decides when a virtual clock jumps, while that clock stands.
    #[inline]
    pub(in crate::event_loop) fn outside(&self) -> Option<&Outside> {
        self.outside.get().filter(|outside| outside.stands())
    }

    /// Gives the running loop a virtual clock, which stands from now on.
    pub(crate) fn pause(&self) {
        let clock = self.shared.clock_or_make();
        let outside = self.outside.get_or_init(|| Outside::new(clock.clone()));
        outside.stop();
        awaited::keep_all(true);
        drop(alarm::replace_clock(Some(clock.clone())));
    }

    /// Lets the running loop's virtual clock run by itself from now on, if it stands.
    pub(crate) fn resume(&self) {
        if let Some(outside) = self.outside() {
            awaited::keep_all(false);
            drop(awaited::take_all());
            outside.go();
        }
    }

    /// Moves a virtual clock that stands forward. False: the clock runs by itself.
    pub(crate) fn advance(&self, by: Duration) -> bool {
        self.outside().map(|outside| outside.advance(by)).is_some()
    }

    pub(super) fn waits_for(&self, kind: u8) {
        self.waits.set(self.waits.get() | kind);
    }

    pub(crate) fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        self.waits_for(TIMER);
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// Replaces a timer's waker. False: the timer is gone.
    #[inline]
    pub(crate) fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        self.waits_for(TIMER);
        let waker = waker.clone();
        let replaced = self.timers.borrow_mut().replace(key, waker);
        replaced.is_ok() // L4: whichever is dropped now is dropped with no cell borrowed
    }

    /// Removes a timer. The caller must drop its waker.
    #[inline]
    pub(crate) fn take_timer(&self, key: TimerKey) -> Option<Waker> {
        self.timers.borrow_mut().remove(key)
    }

    /// The next deadline, if there is one.
    pub(in crate::event_loop) fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow_mut().next()
    }

    /// How long it is until then.
    pub(in crate::event_loop) fn until_next_timer(&self) -> Option<Duration> {
        let next = self.next_timer()?;
        Some(next.saturating_duration_since(self.now()))
    }

    /// Wakes at most `most` tasks whose timers are due. False: none was woken.
    pub(in crate::event_loop) fn wake_due(&self, most: usize) -> bool {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return false;
        }
        self.woken
            .borrow_mut()
            .extend(timers.due(self.now()).take(most));
        drop(timers);
        let any = !self.woken.borrow().is_empty();
        if any {
            self.wake_all();
        }
        any
    }
}
