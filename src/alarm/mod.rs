//! A wake-up at a deadline, with an event loop or without one.
//!
//! An [`Alarm`] wakes a task once its deadline has passed. It is what `timeout`
//! and every other deadline of the crate is made of, so it must work wherever a
//! future is polled: on a loop of ours, on a thread that just blocks, or inside
//! somebody else's runtime.
//!
//! # Protocol
//!
//! 1. A poll first reads the clock ([`now`]: that of the loop it runs on): past the deadline the alarm is done, whoever
//!    may have been asked to wake it.
//! 2. Otherwise it asks this thread's *timekeeper*: the running loop, which
//!    installed itself with [`install`], or else the one timer thread
//!    ([`thread`]).
//! 3. An alarm that was armed elsewhere (its future has moved) is disarmed there
//!    and armed here. So the answer always comes from a timekeeper that is alive
//!    where the future lives now.
//! 4. Dropping an alarm disarms it, from any thread, also after its timekeeper is
//!    gone.
//!
//! # Invariants
//!
//! - **A1** A timekeeper wakes an alarm at or after its deadline, or when the
//!   timekeeper itself ends; never before for any other reason.
//! - **A2** Wakers are woken and dropped while no lock and no cell of the
//!   timekeeper is held: both can run anybody's code.
//!
//! # Rejected
//!
//! - Always the timer thread: every deadline on a loop would cost a system call
//!   and a hop between threads.
//! - A thread for each alarm: a server has a hundred thousand deadlines, and
//!   nearly all are cancelled.
//!
//! Checked by the unit tests of [`timers`] (against a model) and by
//! `tests/event_loop/` (with, without and after a loop).

mod clock;
mod late;
mod near;
mod slots;
mod thread;
mod timers;
mod wheel;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use clock::{Clock, Span, hold, now, replace_clock};
pub(crate) use timers::{TimerKey, Timers};

/// Completes once its deadline has passed. `Send`, `Unpin`, not bound to a loop.
pub(crate) struct Alarm {
    deadline: Instant,
    stage: Stage,
}

enum Stage {
    /// Not polled yet. A length of time is counted anew where another clock counts.
    New(Option<Span>),
    Idle,
    Armed(Arc<dyn Timekeeper>, TimerKey),
}

impl Alarm {
    /// Nothing is started or registered before the first poll.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            stage: Stage::New(None),
        }
    }

    /// `length` from now, by the clock of the thread that polls it first; `None`: later than
    /// that can say.
    pub(crate) fn after(length: Duration) -> Option<Self> {
        let (deadline, span) = Span::count(length);
        deadline.map(|deadline| Self {
            deadline,
            stage: Stage::New(Some(span)),
        })
    }

    /// `Ready` once the deadline has passed; until then the task is woken by
    /// then. Only the waker of the latest call is woken.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Stage::New(span) = &self.stage {
            if let Some(again) = span.and_then(Span::recount) {
                // Past what this clock can say: as late as it was.
                self.deadline = again.unwrap_or(self.deadline);
            }
            self.stage = Stage::Idle;
        }
        if now() >= self.deadline {
            self.disarm();
            return Poll::Ready(());
        }
        let keeper = current();
        if let Stage::Armed(armed_at, key) = &self.stage
            && same(armed_at, &keeper)
            && keeper.refresh(*key, cx.waker())
        {
            return Poll::Pending;
        }
        self.disarm();
        let key = keeper.arm(self.deadline, cx.waker().clone());
        self.stage = Stage::Armed(keeper, key);
        Poll::Pending
    }

    fn disarm(&mut self) {
        if let Stage::Armed(keeper, key) = std::mem::replace(&mut self.stage, Stage::Idle) {
            keeper.disarm(key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("deadline", &self.deadline)
            .field("armed", &matches!(self.stage, Stage::Armed(..)))
            .finish()
    }
}

/// Whoever wakes alarms: an event loop, or the timer thread.
pub(crate) trait Timekeeper: Send + Sync {
    /// Wakes `waker` once `deadline` has passed. Called only on a thread that
    /// this timekeeper serves.
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey;

    /// Puts `waker` in the place of the earlier one; false if that timer is no
    /// longer armed. Called only on a thread that this timekeeper serves.
    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool;

    /// Forgets a timer; does nothing for one that has gone off. Any thread, any
    /// time.
    fn disarm(&self, key: TimerKey);
}

/// Makes `keeper` this thread's timekeeper for as long as the guard lives.
pub(crate) fn install(keeper: Arc<dyn Timekeeper>) -> Installed {
    let before = KEEPER.try_with(|current| current.replace(Some(keeper)));
    Installed {
        before: before.ok().flatten(),
    }
}

/// Gives the thread its earlier timekeeper back.
#[must_use]
pub(crate) struct Installed {
    before: Option<Arc<dyn Timekeeper>>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        let before = self.before.take();
        let ours = KEEPER.try_with(|current| current.replace(before));
        drop(ours);
    }
}

thread_local! {
    static KEEPER: RefCell<Option<Arc<dyn Timekeeper>>> = const { RefCell::new(None) };
}

fn current() -> Arc<dyn Timekeeper> {
    let installed = KEEPER.try_with(|current| current.borrow().clone());
    match installed {
        Ok(Some(keeper)) => keeper,
        // No loop on this thread, or the thread is ending.
        _ => thread::timer_thread(),
    }
}

fn same(a: &Arc<dyn Timekeeper>, b: &Arc<dyn Timekeeper>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
