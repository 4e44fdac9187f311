//! A queue that any thread pushes to and one thread drains, and whether that thread sleeps.
//!
//! **Protocol.** Entries and sleep are behind one lock, which is held for a few instructions.
//!
//! 1. `push` adds an entry, and learns whether the drainer slept: then this thread, and no other, must wake it. Nothing goes
//!    into an inbox that is closed.
//! 2. Before the drainer sleeps it lies down, which succeeds only if there is no entry; then it looks at whatever else it would
//!    be rung for.
//! 3. `drain` takes all entries at once, oldest first.
//! 4. `ring` is for a thread that has left something elsewhere: it ends the sleep, as a push does. So does the drainer itself.
//! 5. `close` takes the last entries in the step after which none can follow.
//!
//! **Why no wake-up is lost.** A push, and a ring, come either before the drainer lies down, which then finds the entry, or finds
//! elsewhere what was left before the ring; or after it, and then they find the sleep. The first to find it takes it away, so there is one
//! wake-up for each sleep at most.
//!
//! **Rejected.** A lock-free stack of the tasks themselves (`docs/DESIGN.md` has the figures).
//!
//! Tests: `checks/tests/models.rs::inbox_*`, `checks/tests/loop_models.rs`, with a twin whose drainer lies down in two steps.

use std::mem;

use super::raw::Runnable;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork;

/// How the drainer sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// In the kernel, for many things.
    Asleep,
    /// Until it is woken, or the time is up.
    Parked,
}

/// A multi-producer queue of runnables.
pub(crate) struct Inbox {
    /// The process that it was made in, as `fork::generation` has it.
    generation: u32,
    state: Mutex<State>,
    /// There are entries: a hint, which spares the drainer the lock.
    filled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    entries: Vec<Runnable>,
    sleep: Option<Sleep>,
    closed: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            generation: fork::generation(),
            state: Mutex::default(),
            filled: AtomicBool::new(false),
        }
    }
}

impl Inbox {
    /// `None`: this is a forked child, where the lock may be held for ever by a thread that was not copied. The drainer was
    /// its parent's, and is not there either.
    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        (self.generation == fork::generation()).then(|| self.state.lock())
    }

    /// (1) Adds one: how the drainer sleeps, if this thread must wake it. An inbox that is closed gives the entry back.
    pub(crate) fn push(&self, runnable: Runnable) -> Result<Option<Sleep>, Runnable> {
        let Some(mut state) = self.lock() else {
            mem::forget(runnable); // its future may be one that only the drainer's thread may drop
            return Ok(None);
        };
        if state.closed {
            return Err(runnable);
        }
        state.entries.push(runnable);
        self.filled.store(true, Ordering::Relaxed);
        Ok(state.sleep.take())
    }

    /// Nothing is in it: a hint, unless the drainer asks that has just lain down.
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Relaxed)
    }

    /// (3) The drainer: what is in it now goes into `entries`, which is empty, and whose memory is used again.
    pub(crate) fn drain(&self, entries: &mut Vec<Runnable>) {
        if !self.is_empty()
            && let Some(mut state) = self.lock()
        {
            self.filled.store(false, Ordering::Relaxed);
            mem::swap(&mut state.entries, entries);
        }
    }

    /// (2) The drainer, before it looks a last time and sleeps. False: something is here.
    pub(crate) fn lie_down(&self, how: Sleep) -> bool {
        let Some(mut state) = self.lock() else {
            return true;
        };
        let empty = state.entries.is_empty();
        #[cfg(loom)]
        if fault::in_two_steps() {
            drop(state);
            state = self.state.lock();
        }
        state.sleep = empty.then_some(how);
        empty
    }

    /// (4) The drainer, after its sleep or where it has found something after all.
    pub(crate) fn get_up(&self) {
        if let Some(mut state) = self.lock() {
            state.sleep = None;
        }
    }

    /// (4) Any thread, after it has left something for the drainer elsewhere: how it sleeps, if this thread must wake
    /// it.
    pub(crate) fn ring(&self) -> Option<Sleep> {
        self.lock()?.sleep.take()
    }

    /// (5) The drainer: takes what is left; nothing follows.
    pub(crate) fn close(&self) -> Vec<Runnable> {
        let Some(mut state) = self.lock() else {
            return Vec::new();
        };
        state.closed = true;
        self.filled.store(false, Ordering::Relaxed);
        mem::take(&mut state.entries)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_none_or(|state| state.closed)
    }
}

/// Faults on purpose, so that the models show that they can fail.
#[cfg(loom)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static TWO_STEPS: Cell<bool> = const { Cell::new(false) };
    }

    /// `lie_down` as a look and a store.
    pub(crate) fn lie_down_in_two_steps(on: bool) {
        TWO_STEPS.set(on);
    }

    pub(super) fn in_two_steps() -> bool {
        TWO_STEPS.get()
    }
}
