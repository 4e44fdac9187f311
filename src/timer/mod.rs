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
//! 2. Otherwise it registers with this thread's *timekeeper*: the running loop, which installed
//!    itself with [`replace_keeper`], or, without a loop, the one helper thread that waits
//!    ([`helper_thread`](mod@helper_thread)).
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
//! Checked by the unit tests of [`timers`] (against a model) and by
//! `tests/event_loop/` (with, without and after a loop).

mod clock;
mod helper_thread;
mod timers;

use std::cell::RefCell;
use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use clock::{Clock, Countdown, Held, end, hold, later, now, replace_clock};
pub(crate) use helper_thread::{Interest, RARELY, Ready, enter};
pub(crate) use timers::{TimerKey, Timers};

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

/// Wakes alarms: an event loop, or the helper thread.
pub(crate) trait Timekeeper: Send + Sync {
    /// Wakes `waker` once `deadline` has passed. Called only on a thread that
    /// this timekeeper serves.
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey;

    /// Replaces the earlier waker; false if that timer is no longer armed. Called only on a thread
    /// that this timekeeper serves.
    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool;

    /// Removes a timer; does nothing for one that has fired. May be called on any thread, at any
    /// time.
    fn disarm(&self, key: TimerKey);

    /// Whether an operation was refused in the present poll of a task, because others had their
    /// turn: the task was woken, and such an operation has not been tried.
    fn has_refused(&self) -> bool {
        false
    }

    /// Lets refused operations be tried once more in this poll.
    fn renew_budget(&self) {}
}

pub(crate) type Keeper = Option<Arc<dyn Timekeeper>>;

thread_local! {
    // This has no destructor, because a loop may run in that of another thread-local.
    static KEEPER: RefCell<ManuallyDrop<Keeper>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

/// Makes `keeper` this thread's timekeeper; returns the earlier one.
pub(crate) fn replace_keeper(keeper: Keeper) -> Keeper {
    let before = KEEPER.with(|current| current.replace(ManuallyDrop::new(keeper)));
    ManuallyDrop::into_inner(before)
}

/// Whether this thread's loop has refused an operation in the present poll of a task, so that what
/// waits for it may have a result that it has not seen.
pub(crate) fn has_refused() -> bool {
    let keeper = KEEPER.with(|current| (**current.borrow()).clone());
    keeper.is_some_and(|keeper| keeper.has_refused())
}

/// Lets operations that were refused be tried once more in this poll.
pub(crate) fn renew_budget() {
    let keeper = KEEPER.with(|current| (**current.borrow()).clone());
    if let Some(keeper) = keeper {
        keeper.renew_budget();
    }
}

fn current() -> Arc<dyn Timekeeper> {
    let installed = KEEPER.with(|current| (**current.borrow()).clone());
    installed.unwrap_or_else(|| helper_thread::waiter().clone())
}
