//! A wake-up at a deadline, with an event loop or without one.
//!
//! An [`Alarm`] wakes a task once its deadline has passed. `timeout` and all other deadlines of the
//! crate use it, so it must work wherever a future is polled: on a loop of this crate, on a thread
//! that blocks, or inside another runtime.
//!
//! # Protocol
//!
//! 1. A poll first reads the clock ([`now`]: that of the loop it runs on). Past the deadline the
//!    alarm is done, whichever timekeeper was to wake it.
//! 2. Otherwise it registers with this thread's *timekeeper* (`timekeeper.rs`): the running loop,
//!    or, without a loop, the one helper thread that waits (`helper_thread.rs`).
//! 3. An alarm that was armed elsewhere (its future has moved) is disarmed there and armed here. So
//!    the timekeeper that will wake it serves the thread where the future is polled now.
//! 4. Dropping an alarm disarms it, from any thread, even after its timekeeper is gone.
//!
//! # Invariants
//!
//! - A timekeeper wakes an alarm at or after its deadline, or when the timekeeper itself
//!   ends; never before for any other reason.
//! - Wakers are woken and dropped while no lock and no cell of the timekeeper is held,
//!   because both can run user code.
//!
//! Rejected: always using the helper thread (a system call and a hop between threads for every
//! deadline on a loop); a thread for each alarm (a server has a hundred thousand deadlines, and
//! cancels nearly all).
//!
//! Tests: the unit tests of `timers.rs` (against a model),
//! `tests/event_loop/time.rs::{timeouts_with_a_loop_without_one_and_from_one_to_the_other,
//! a_wait_that_is_reset_when_it_is_due_goes_on}`.

mod clock;
mod helper_thread;
#[cfg(feature = "__descriptors")]
mod ready;
mod timekeeper;
mod timers;
#[cfg_attr(not(feature = "__descriptors"), path = "no_descriptors.rs")]
mod watched;

use std::future::poll_fn;
use std::sync::Arc;
#[cfg(feature = "event-loop")]
use std::task::Waker;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(feature = "event-loop")]
use crate::blocking_threads::PAUSE;
#[cfg(feature = "event-loop")]
pub(crate) use crate::blocking_threads::ask_again;
pub(crate) use clock::{Clock, end, later};
#[cfg(feature = "event-loop")]
pub(crate) use helper_thread::wake_after;
#[cfg(feature = "__descriptors")]
pub(crate) use ready::{Ready, keep};
pub(crate) use timekeeper::{
    Countdown, Keeper, Timekeeper, hold, is_virtual, now, renew_budget, renew_clock, replace_keeper,
};
pub(crate) use timers::{TimerKey, Timers};
#[cfg(feature = "__descriptors")]
pub(crate) use watched::{UNREPORTED_PERIOD, WatchedFds};

/// Completes once its deadline has passed. It is `Send`, `Unpin`, and not bound to a loop.
pub(crate) struct Alarm {
    deadline: Instant,
    state: AlarmState,
}

enum AlarmState {
    /// The alarm was not polled yet. A duration is computed again if the polling thread has another
    /// clock.
    New(Option<Countdown>),
    Idle,
    Armed(Arc<dyn Timekeeper>, TimerKey),
}

impl Alarm {
    /// Nothing is started or registered before the first poll.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            state: AlarmState::New(None),
        }
    }

    /// An alarm `length` from now, by the clock of the thread that polls it first.
    pub(crate) fn after(length: Duration) -> Self {
        let (deadline, span) = Countdown::from_now(length);
        Self {
            deadline,
            state: AlarmState::New(Some(span)),
        }
    }

    /// `Ready` once the deadline has passed; otherwise the task will be woken by then. Only the
    /// waker of the latest call is woken.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let AlarmState::New(span) = &self.state {
            self.deadline = span.and_then(Countdown::recount).unwrap_or(self.deadline);
            self.state = AlarmState::Idle;
        }
        if now() >= self.deadline {
            self.disarm();
            return Poll::Ready(());
        }
        let keeper = current();
        if let AlarmState::Armed(armed_at, key) = &self.state
            && Arc::ptr_eq(armed_at, &keeper)
            && keeper.refresh(*key, cx.waker())
        {
            return Poll::Pending;
        }
        self.disarm();
        let key = keeper.arm(self.deadline, cx.waker().clone());
        self.state = AlarmState::Armed(keeper, key);
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let AlarmState::Armed(keeper, key) = std::mem::replace(&mut self.state, AlarmState::Idle)
        {
            keeper.disarm(key);
        }
    }
}

/// Completes once `duration` has passed, by the clock of the loop that waits.
pub(crate) async fn pause(duration: Duration) {
    let mut alarm = Alarm::after(duration);
    poll_fn(|cx| alarm.poll_elapsed(cx)).await;
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

debug!(
    impl Alarm,
    self,
    deadline = self.deadline,
    armed = matches!(self.state, AlarmState::Armed(..))
);

/// Whether somebody asks the system again for threads that it has refused: the loop that runs here,
/// or the helper thread, if there is one to be had.
#[cfg(feature = "event-loop")]
pub(crate) fn asks_again() -> bool {
    timekeeper::current().is_some() || wake_after(PAUSE, Waker::noop().clone())
}

fn current() -> Arc<dyn Timekeeper> {
    timekeeper::current().unwrap_or_else(|| helper_thread::waiter().clone())
}
