//! A queue that any thread pushes to and one thread drains, and whether that thread sleeps.
//!
//! **Protocol.** Entries and sleep are behind one lock, which is held for a few instructions.
//!
//! 1. `push` adds an entry, and learns whether the drainer slept: then this thread, and no other,
//!    must wake it. Nothing goes into an inbox that is closed.
//! 2. Before the drainer sleeps it marks itself asleep, which succeeds only if there is no entry;
//!    then it checks everything else that it would be rung for.
//! 3. `drain` takes all entries at once, oldest first.
//! 4. `ring` is for a thread that has left something elsewhere: it ends the sleep, as a push does.
//!    The drainer itself can end it, too.
//! 5. `close` takes the last entries in the step after which none can follow.
//!
//! **Why no wake-up is lost.** A push or a ring comes either before the drainer marks itself
//! asleep, and then the drainer finds the entry, or what was left before the ring; or after, and
//! then it finds the mark. The first to find the mark clears it, so there is at most one wake-up
//! for each sleep.
//!
//! **Rejected.** A lock-free stack of the tasks themselves (`docs/DESIGN.md` has the figures).
//!
//! Tests: `checks/tests/models.rs::inbox_*`, `checks/tests/loop_models.rs`, with a twin whose
//! drainer marks itself asleep in two steps.

use std::mem;

use super::raw::Runnable;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork;

/// How the drainer sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// In the kernel, for many things.
    InPoller,
    /// Until it is woken, or the time is up.
    InParker,
}

/// A multi-producer queue of runnables.
pub(crate) struct Inbox {
    /// The process that it was made in, as `fork::generation` has it.
    generation: u32,
    state: Mutex<State>,
    /// Whether there are entries: a hint, which saves the drainer the lock.
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
    /// Whether this is a forked child of the process that made it: the drainer was its parent's,
    /// and is not there.
    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// `None`: this is a forked child, where the lock may be held for ever by a thread that was not
    /// copied.
    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        (!self.is_foreign()).then(|| self.state.lock())
    }

    /// (1) Adds an entry; returns how the drainer sleeps, if this thread must wake it. A closed
    /// inbox returns the entry.
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

    /// Whether it is empty: a hint, except for a drainer that has just marked itself asleep.
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Relaxed)
    }

    /// (3) The drainer: moves the entries to `entries`, which is empty, and whose memory is reused.
    pub(crate) fn drain(&self, entries: &mut Vec<Runnable>) {
        if !self.is_empty()
            && let Some(mut state) = self.lock()
        {
            self.filled.store(false, Ordering::Relaxed);
            mem::swap(&mut state.entries, entries);
        }
    }

    /// (2) The drainer, before it checks a last time and sleeps. False: there are entries.
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

    /// (4) The drainer, after its sleep or if it has found work after all.
    pub(crate) fn get_up(&self) {
        if let Some(mut state) = self.lock() {
            state.sleep = None;
        }
    }

    /// (4) Any thread, after it has left something for the drainer elsewhere: how it sleeps, if
    /// this thread must wake it.
    pub(crate) fn ring(&self) -> Option<Sleep> {
        self.lock()?.sleep.take()
    }

    /// (5) The drainer: takes the last entries; none can follow.
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
