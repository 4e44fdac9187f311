//! Blocking waits: the thread's parker, its waker, and the hook for thread pools.
//!
//! **Job.** Every blocking wait of this crate ends here: [`wait`] parks the
//! calling thread until a condition holds, woken through an ordinary `Waker`.
//!
//! **Protocol.** 1. Borrow this thread's cached parker, or make a new one if it is in use (a wait
//! inside a poll inside a wait). 2. Pass the waker to the caller's `ready`, which registers it and
//! returns whether the wait is over.
//! 3. If not, notify the [`Blocker`] once, park, and call `ready` again.
//!
//! - **S1** A parker's token belongs to one wait at a time: an inner wait that shared it could
//!   swallow the wake-up of the outer one, which would then sleep for ever. Hence the borrow in
//!   step 1.
//! - **S2** The token is never `std::thread::park`'s: that one belongs to the user's code, whose
//!   `unpark` we would otherwise consume.
//! - **S4** A forked child does not touch a parker of its parent: a thread that does not exist in
//!   the child may hold its lock. So the waker of such a parker does nothing, and a wait that began
//!   in the parent makes a new parker.
//!
//! **Refusal.** The thread of an event loop, and the driver of a process pool, must not block:
//! while they hold a guard ([`refuse_blocking`]), waits return at once with
//! an error.
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{complete_vs_join, complete_vs_cancel_vs_join,
//! complete_vs_drop_of_the_handle}`,
//! `tests/task/handle.rs::a_wait_inside_a_poll_does_not_swallow_the_outer_wakeup`.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::marker;
pub(crate) use super::marker::{RefuseGuard, blocking_refused, refuse_blocking};
use crate::events;
use crate::loom::{Parker, Unparker, per_thread};
use crate::sys::fork;

/// Called by thread pools around a park: if the thread is a worker, `enter` lets another thread
/// take its place, and `leave` takes it back.
pub(crate) trait Blocker: Sync {
    /// This thread is about to park. `waits`: what it waits for may depend on some pool's work.
    fn enter(&self, waits: bool);
    /// This thread continues.
    fn leave(&self, waits: bool);
    /// If the system refuses threads, the waiting thread parks for at most this long, and then
    /// calls `enter` again.
    fn retry_after(&self) -> Option<Duration>;
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// `ready` returned true.
    Ready,
    /// The deadline passed first.
    TimedOut,
    /// This thread must not block, and `ready` returned false.
    Refused,
}

/// An unparker, and the fork generation of the process that made it (`fork.rs`).
struct Unpark(Unparker, u32);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // see S4
        if self.1 == fork::generation() {
            self.0.unpark();
        }
    }
}

struct Parking {
    parker: Parker,
    waker: Waker,
    born: u32,
}

impl Parking {
    fn new() -> Self {
        fork::register_handler();
        let (parker, born) = (Parker::new(), fork::generation());
        let unpark = Unpark(parker.unparker().clone(), born);
        Self {
            parker,
            waker: Waker::from(Arc::new(unpark)),
            born,
        }
    }

    fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }
}

per_thread! {
    /// This thread's parker, while no wait uses it.
    static CACHED: RefCell<Option<Parking>> = RefCell::new(None);
}

/// The thread pools' hook; `None` before the first pool.
static BLOCKER: fork::PerProcess<&'static dyn Blocker> = fork::PerProcess::new();

/// Whether `waker` belongs to a wait that this thread is inside, and not to a task.
pub(crate) fn waits_with(waker: &Waker) -> bool {
    marker::wait() == waker.data()
}

/// Whether this thread is inside a wait.
#[cfg(test)]
pub(crate) fn waits() -> bool {
    !marker::wait().is_null()
}

/// Restores the previous value.
struct Waits(*const ());

impl Drop for Waits {
    fn drop(&mut self) {
        marker::replace_wait(self.0);
    }
}

/// Blocks this thread until `ready` returns true, woken by the waker that `ready` gets, or until
/// `deadline`.
///
/// `ready` runs at least once, even where blocking is refused.
pub(crate) fn wait(deadline: Option<Instant>, mut ready: impl FnMut(&Waker) -> bool) -> Waited {
    wait_if(false, deadline, &mut ready)
}

/// Like [`wait`]; with `anyway` it also blocks an event loop's thread.
pub(crate) fn wait_if(
    anyway: bool,
    deadline: Option<Instant>,
    ready: &mut dyn FnMut(&Waker) -> bool,
) -> Waited {
    let mut parking = match CACHED.try_with(RefCell::take) {
        Ok(Some(parking)) if !parking.is_foreign() => parking,
        _ => Parking::new(),
    };
    let _waits = Waits(marker::replace_wait(parking.waker.data()));
    let blocker = Entered::new(true);
    let mut noted = None;
    let waited = loop {
        if ready(&parking.waker) {
            break Waited::Ready;
        }
        if parking.is_foreign() {
            // S4: `ready` has forked, and this is the child.
            parking = Parking::new();
            marker::replace_wait(parking.waker.data());
            continue;
        }
        if !anyway && blocking_refused() {
            break Waited::Refused;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break Waited::TimedOut;
        }
        blocker.enter();
        if noted.is_none() {
            noted = Some(events::waits());
        }
        let retry = blocker.retry_after().map(|pause| Instant::now() + pause);
        let until = match (deadline, retry) {
            (Some(deadline), Some(retry)) => Some(deadline.min(retry)),
            _ => deadline.or(retry),
        };
        match until {
            None => {
                let _asleep = events::falls_asleep(true);
                parking.parker.park();
            }
            Some(until) => parking.parker.park_deadline(until),
        }
        if retry.is_some() {
            blocker.leave();
        }
        #[cfg(loom)]
        if deadline.is_some() && !ready(&parking.waker) {
            break Waited::TimedOut;
        }
    };
    drop(noted);
    drop(blocker);
    let _ = CACHED.try_with(|slot| slot.replace(Some(parking)));
    waited
}

/// Calls `f`, which waits in another way; a pool's worker is replaced meanwhile.
pub(crate) fn blocked<R>(f: impl FnOnce() -> R) -> R {
    let blocker = Entered::new(true);
    blocker.enter();
    f()
}

/// Calls `f`, in which this thread is away without waiting for anything in particular (an event
/// loop that sleeps); a pool's worker is replaced meanwhile.
pub(crate) fn away<R>(f: impl FnOnce() -> R) -> R {
    let blocker = Entered::new(false);
    blocker.enter();
    f()
}

/// Calls the blocker's `enter` at most once before `leave`, and `leave` if `enter` was called, even
/// when `ready` unwinds.
struct Entered {
    entered: Cell<bool>,
    waits: bool,
}

impl Entered {
    fn new(waits: bool) -> Self {
        Self {
            entered: Cell::new(false),
            waits,
        }
    }

    fn enter(&self) {
        if !self.entered.replace(true)
            && let Some(blocker) = BLOCKER.inherited()
        {
            blocker.enter(self.waits);
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        BLOCKER.inherited()?.retry_after()
    }

    fn leave(&self) {
        if self.entered.replace(false)
            && let Some(blocker) = BLOCKER.inherited()
        {
            blocker.leave(self.waits);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Makes all waits of all threads call `blocker`, from now on.
pub(crate) fn set_blocker(blocker: &'static dyn Blocker) {
    BLOCKER.inherit_or_init(|| blocker);
}
