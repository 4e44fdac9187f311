//! The loop's timers, seen from its own thread.
//!
//! Wakers are cloned before a timer is looked up, and dropped afterwards (L4). If a timer no
//! longer exists, it was due or its loop has ended: either way the future continues.
//!
//! Tests: `tests/event_loop/time.rs::{sleepers_wake_in_order_and_never_early,
//! a_wait_that_is_reset_between_polls_wakes_its_task}`; of the timers themselves, in
//! `src/timer/timers.rs`.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::virtual_clock::VirtualClock;
use super::Local;
use crate::events;
use crate::events::TIMER;
use crate::timer;
use crate::timer::TimerKey;

impl Local {
    /// The time on this loop.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.shared.now()
    }

    /// Decides when a virtual clock jumps. `None`: the clock does not stand still.
    #[inline]
    pub(in crate::event_loop) fn virtual_clock(&self) -> Option<&VirtualClock> {
        self.virtual_clock.get().filter(|clock| clock.stands())
    }

    /// Gives the running loop a virtual clock, which stands still from now on.
    pub(crate) fn pause(&self) {
        let clock = self.shared.clock_or_make();
        let clock = self
            .virtual_clock
            .get_or_init(|| VirtualClock::new(clock.clone()));
        clock.stop();
        self.is_special.set(true);
        timer::renew_clock();
    }

    /// Lets the running loop's virtual clock run by itself from now on, if it stands still.
    pub(crate) fn resume(&self) {
        if let Some(clock) = self.virtual_clock() {
            clock.go();
        }
    }

    /// Moves a stopped virtual clock forward. `false`: the clock runs by itself.
    pub(crate) fn advance(&self, by: Duration) -> bool {
        self.virtual_clock()
            .map(|clock| clock.advance(by))
            .is_some()
    }

    pub(crate) fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        events::waits_for(TIMER);
        self.timers.borrow_mut().insert(deadline, waker)
    }

    /// Replaces a timer's waker. `false`: the timer is gone.
    #[inline]
    pub(crate) fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        events::waits_for(TIMER);
        let waker = waker.clone();
        let replaced = self.timers.borrow_mut().replace(key, waker);
        replaced.is_ok() // L4: the old waker, or the clone, is dropped here with no cell borrowed
    }

    /// Removes a timer. The caller must drop its waker.
    #[inline]
    pub(crate) fn take_timer(&self, key: TimerKey) -> Option<Waker> {
        self.timers.borrow_mut().remove(key)
    }

    /// The next deadline, if there is one.
    pub(in crate::event_loop) fn next_timer(&self) -> Option<Instant> {
        self.timers.borrow_mut().next_deadline()
    }

    #[inline]
    pub(in crate::event_loop) fn count_timers(&self) -> usize {
        self.timers.borrow().len()
    }

    /// How long it is until the next deadline.
    pub(in crate::event_loop) fn until_next_timer(&self) -> Option<Duration> {
        let next = self.next_timer()?;
        Some(next.saturating_duration_since(self.now()))
    }

    /// Wakes the tasks of at most `most` timers that are due. `false`: none was woken.
    pub(in crate::event_loop) fn wake_due(&self, most: usize) -> bool {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            timers.shrink();
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
