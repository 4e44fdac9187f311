//! A thread that waits: its parker, its waker, and what must know of it.
//!
//! **Job.** Every blocking wait of this crate ends here: [`wait`] parks the
//! calling thread until a condition holds, woken through an ordinary `Waker`.
//!
//! **Protocol.** 1. Borrow this thread's cached parker, or make a new one if it
//! is in use (a wait inside a poll inside a wait). 2. Hand the waker to the
//! caller's `ready`, which registers it and says whether the wait is over.
//! 3. If not, tell the [`Blocker`] once, park, ask again.
//!
//! - **S1** A parker's token belongs to one wait at a time: an inner wait that
//!   shared it could swallow the wake-up of the outer one, which would then
//!   sleep for ever. Hence the borrow in step 1.
//! - **S2** The token is never `std::thread::park`'s: that one belongs to the
//!   user's code, whose `unpark` we would otherwise swallow.
//!
//! **Refusal.** An event loop's thread, and the thread that drives a process
//! pool, must not block; while they hold a [`RefuseGuard`], waits return at once
//! and say so.
//!
//! Tests: `checks/tests/models.rs` (parked join against completion, cancel and
//! drop), `tests/task/handle.rs` (nested waits).

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crate::loom::{Parker, Unparker, per_thread};
use crate::record;

/// What thread pools do around a park of a thread inside a wait of ours, if that thread is a worker:
/// `enter` lets another thread take its place, `leave` takes it back.
pub(crate) trait Blocker: Sync {
    /// This thread is about to park.
    fn enter(&self);
    /// This thread goes on.
    fn leave(&self);
    /// No thread could take its place: it parks for so long at most, and then enters again.
    fn retry_after(&self) -> Option<Duration>;
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// `ready` said so.
    Ready,
    /// The deadline passed first.
    TimedOut,
    /// This thread must not block, and it was not ready.
    Refused,
}

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

struct Parking {
    parker: Parker,
    waker: Waker,
}

impl Parking {
    fn new() -> Self {
        let parker = Parker::new();
        let waker = Waker::from(Arc::new(Unpark(parker.unparker().clone())));
        Self { parker, waker }
    }
}

per_thread! {
    /// This thread's parker, while no wait has it.
    static CACHED: RefCell<Option<Parking>> = RefCell::new(None);
}

/// There is none before the first pool.
static BLOCKER: OnceLock<&'static dyn Blocker> = OnceLock::new();

per_thread! {
    /// How many guards forbid this thread to block.
    static REFUSED: Cell<u32> = Cell::new(0);
}

per_thread! {
    /// The data of the waker of the innermost wait on this thread; null where it does not wait.
    static WAKER: Cell<*const ()> = Cell::new(ptr::null());
}

/// `waker` is that of a wait of this thread, which is in the middle of it: not a task's.
pub(crate) fn waits_with(waker: &Waker) -> bool {
    WAKER
        .try_with(Cell::get)
        .is_ok_and(|data| data == waker.data())
}

/// Puts back what was there before.
struct Waits(*const ());

impl Drop for Waits {
    fn drop(&mut self) {
        let _ = WAKER.try_with(|waker| waker.set(self.0));
    }
}

/// Blocks this thread until `ready` returns true, woken by the waker that it
/// is given, or until `deadline`.
///
/// `ready` runs at least once, also where blocking is refused.
pub(crate) fn wait(deadline: Option<Instant>, ready: impl FnMut(&Waker) -> bool) -> Waited {
    wait_if(false, deadline, ready)
}

/// As [`wait`]; it blocks an event loop's thread, too.
#[allow(dead_code)] // the thread pool's
pub(crate) fn wait_anyway(deadline: Instant, ready: impl FnMut(&Waker) -> bool) {
    wait_if(true, Some(deadline), ready);
}

pub(super) fn wait_if(
    anyway: bool,
    deadline: Option<Instant>,
    mut ready: impl FnMut(&Waker) -> bool,
) -> Waited {
    let parking = CACHED
        .try_with(RefCell::take)
        .unwrap_or(None)
        .unwrap_or_else(Parking::new);
    let data = parking.waker.data();
    let before = WAKER.try_with(|waker| waker.replace(data));
    let _waits = Waits(before.unwrap_or(ptr::null()));
    let blocker = Entered::new();
    let mut noted = None;
    let waited = loop {
        if ready(&parking.waker) {
            break Waited::Ready;
        }
        if !anyway && blocking_refused() {
            break Waited::Refused;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break Waited::TimedOut;
        }
        blocker.enter();
        noted.get_or_insert_with(record::waits);
        let retry = blocker.retry_after().map(|pause| Instant::now() + pause);
        match deadline.into_iter().chain(retry).min() {
            None => parking.parker.park(),
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

/// Calls `f`, which blocks this thread by means of its own (an event loop's wait);
/// a pool's worker is replaced meanwhile.
pub(crate) fn blocked<R>(f: impl FnOnce() -> R) -> R {
    let blocker = Entered::new();
    blocker.enter();
    f()
}

/// Calls the blocker's `enter` at most once, until it leaves, and `leave` if it was called, also
/// when `ready` unwinds.
struct Entered(Cell<bool>);

impl Entered {
    fn new() -> Self {
        Self(Cell::new(false))
    }

    fn enter(&self) {
        if !self.0.replace(true)
            && let Some(blocker) = BLOCKER.get()
        {
            blocker.enter();
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        BLOCKER.get()?.retry_after()
    }

    fn leave(&self) {
        if self.0.replace(false)
            && let Some(blocker) = BLOCKER.get()
        {
            blocker.leave();
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.leave();
    }
}

/// From now on `blocker` is told of the waits of all threads.
pub(crate) fn set_blocker(blocker: &'static dyn Blocker) {
    let _ = BLOCKER.set(blocker);
}

/// While it lives, blocking waits on this thread are refused.
#[must_use]
#[derive(Debug)]
pub(crate) struct RefuseGuard(std::marker::PhantomData<*const ()>);

/// From now on this thread must not block, until the guard is dropped.
#[allow(dead_code)] // the event loop's and the process pool's
pub(crate) fn refuse_blocking() -> RefuseGuard {
    REFUSED.with(|depth| depth.set(depth.get() + 1));
    RefuseGuard(std::marker::PhantomData)
}

/// This thread must not block.
pub(crate) fn blocking_refused() -> bool {
    REFUSED.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

impl Drop for RefuseGuard {
    fn drop(&mut self) {
        let _ = REFUSED.try_with(|depth| depth.set(depth.get() - 1));
    }
}
