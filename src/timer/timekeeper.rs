//! What wakes the alarms of this thread, and by which clock.
//!
//! The loop that runs on a thread is its *timekeeper*. The time is the real one, unless the loop
//! has its own [`Clock`] (a virtual one, for tests). Deadlines are compared with [`now`], so that
//! code measures time as its loop does.
//!
//! A duration that is counted from a call ([`Countdown`]) may be computed outside the loop that
//! will wait for it, as in `event_loop.block_on(sleep(hour))`, and so by another clock. It
//! remembers which one, and is computed again if that was not the waiting loop's clock.
//!
//! Some code waits for a duration because it cannot be notified of the event it waits for; a
//! virtual clock must not jump over that at once. Such code calls [`hold`]; the loop decides what
//! follows (`event_loop/virtual_clock.rs`).
//!
//! Tests: `tests/event_loop/virtual_time.rs`.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::clock::{Clock, Held, REAL, later};
use super::timers::TimerKey;

/// Wakes alarms: an event loop, or the helper thread.
pub(crate) trait Timekeeper: Send + Sync {
    /// Its clock; `None`: the real one.
    fn clock(&self) -> Option<&Arc<Clock>> {
        None
    }

    /// Wakes `waker` once `deadline` has passed. Called only on a thread that
    /// this timekeeper serves.
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey;

    /// Replaces the earlier waker; false if that timer is no longer armed. Called only on a thread
    /// that this timekeeper serves.
    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool;

    /// Removes a timer; does nothing for one that has fired. May be called on any thread, at any
    /// time.
    fn disarm(&self, key: TimerKey);

    /// If an operation was refused in the present poll of a task, because others had their turn,
    /// lets such operations be tried once more in this poll. `false`: none was.
    fn renew_budget(&self) -> bool {
        false
    }
}

/// What wakes the alarms of a thread, if a loop runs there.
pub(crate) type Keeper = Option<Arc<dyn Timekeeper>>;

/// What a thread's alarms ask.
struct CurrentKeeper {
    // This has no destructor, because a loop may run in that of another thread-local.
    keeper: RefCell<ManuallyDrop<Keeper>>,
    /// The number of the keeper's clock, which is all that most callers need.
    clock: Cell<u64>,
}

thread_local! {
    static HERE: CurrentKeeper = const {
        CurrentKeeper {
            keeper: RefCell::new(ManuallyDrop::new(None)),
            clock: Cell::new(REAL),
        }
    };
}

/// Makes `keeper` this thread's timekeeper; returns the earlier one.
pub(crate) fn replace_keeper(keeper: Keeper) -> Keeper {
    let before = HERE.with(|here| here.keeper.replace(ManuallyDrop::new(keeper)));
    renew_clock();
    ManuallyDrop::into_inner(before)
}

/// Called when this thread's timekeeper has another clock than before.
pub(crate) fn renew_clock() {
    let number = clock().map_or(REAL, |clock| clock.number());
    HERE.with(|here| here.clock.set(number));
}

/// This thread's timekeeper: the loop that runs here.
pub(super) fn current() -> Keeper {
    HERE.with(|here| (**here.keeper.borrow()).clone())
}

fn clock() -> Option<Arc<Clock>> {
    HERE.with(|here| here.keeper.borrow().as_ref()?.clock().cloned())
}

#[inline]
fn number() -> u64 {
    HERE.with(|here| here.clock.get())
}

/// Whether the time on this thread is that of a virtual clock.
#[inline]
pub(crate) fn is_virtual() -> bool {
    // (Only a loop has one.)
    cfg!(feature = "event-loop") && number() != REAL
}

/// The time on this thread.
#[inline]
pub(crate) fn now() -> Instant {
    if is_virtual() {
        now_virtual()
    } else {
        Instant::now()
    }
}

#[cold]
fn now_virtual() -> Instant {
    clock().map_or_else(Instant::now, |clock| clock.now())
}

/// If this thread's loop has refused an operation in the present poll of a task, what waits for it
/// may have a result that it has not seen: lets such operations be tried once more. `false`: none
/// was refused.
pub(crate) fn renew_budget() -> bool {
    current().is_some_and(|keeper| keeper.renew_budget())
}

/// Says that this thread waits for an event outside its clock that nothing will report. While the
/// guard exists, a virtual clock does not jump, for a limited time. With the real clock there is no
/// guard.
pub(crate) fn hold() -> Option<Held> {
    clock().map(|clock| clock.hold())
}

/// A duration, and the clock by which its end was computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Countdown {
    length: Duration,
    clock: u64,
}

impl Countdown {
    /// A duration that is counted from now, and its end.
    #[inline]
    pub(crate) fn from_now(length: Duration) -> (Instant, Self) {
        let clock = number();
        (later(now(), length), Self { length, clock })
    }

    /// Whether its length is zero.
    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.length.is_zero()
    }

    /// Called at the first wait: computes the end by this thread's clock, if another one was used.
    #[inline]
    pub(crate) fn recount(self) -> Option<Instant> {
        (number() != self.clock).then(|| later(now(), self.length))
    }
}
