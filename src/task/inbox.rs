//! A queue that any thread pushes to and one thread drains, and whether the draining thread sleeps.
//!
//! **Protocol.** Entries and sleep are behind one lock, which is held for a few instructions.
//!
//! 1. `push` adds an entry, and learns whether the drainer slept. If it did, this thread, and no
//!    other, must wake it. A closed inbox accepts no entry.
//! 2. Before the drainer sleeps, it marks itself asleep, which succeeds only if there is no entry;
//!    then it checks everything else that it could be rung for.
//! 3. `drain` takes all entries at once, oldest first.
//! 4. `ring` is for a thread that has left work elsewhere: it ends the sleep, as a push does. The
//!    drainer itself can end it, too.
//! 5. `close` takes the last entries and closes the inbox in one step, so none can follow.
//!
//! **Why no wake-up is lost.** A push or a ring comes before or after the drainer marks itself
//! asleep. If it comes before, the drainer finds the entry, or the work that was left before the
//! ring. If it comes after, it finds the mark. The first to find the mark clears it, so there is at
//! most one wake-up for each sleep.
//!
//! **Rejected.** A lock-free stack of the tasks themselves
//! (`docs/internals/decisions/loop-inbox.md`).
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{inbox_two_producers,
//! inbox_keeps_order_and_drops_what_is_left}`, `tests/trefoil-checks/tests/loop_models.rs`, with a
//! twin whose drainer marks itself asleep in two steps.

use std::mem;

use super::raw::Runnable;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::sys::fork;

/// Where the drainer sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SleepPlace {
    /// In the kernel's wait for the poller's events.
    Poller,
    /// In a parker, until it is woken or the time is up.
    Parker,
}

/// A multi-producer queue of runnables.
pub(crate) struct Inbox {
    /// The fork generation of the process that made it.
    generation: u32,
    state: Mutex<InboxState>,
    /// Whether there are entries: a hint, which saves the drainer the lock.
    filled: AtomicBool,
}

#[derive(Default)]
struct InboxState {
    /// The entries, oldest first.
    entries: Vec<Runnable>,
    sleep: Option<SleepPlace>,
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
    /// Whether this is a forked child of the process that made it: the drainer was a thread of the
    /// parent, and does not exist here.
    pub(crate) fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Takes the lock. `None`: this is a forked child, where the lock may be held for ever by a
    /// thread that was not copied.
    fn lock(&self) -> Option<MutexGuard<'_, InboxState>> {
        (!self.is_foreign()).then(|| self.state.lock())
    }

    /// (1) Adds an entry. Returns where the drainer sleeps, if this thread must wake it. If the
    /// inbox is closed, returns the entry.
    pub(crate) fn push(&self, runnable: Runnable) -> Result<Option<SleepPlace>, Runnable> {
        let Some(mut state) = self.lock() else {
            mem::forget(runnable); // perhaps only the drainer's thread may drop its future
            return Ok(None);
        };
        if state.closed {
            return Err(runnable);
        }
        state.entries.push(runnable);
        self.filled.store(true, Ordering::Relaxed);
        Ok(state.sleep.take())
    }

    /// Whether it is empty. This is a hint, except for a drainer that has just marked itself
    /// asleep. (In a forked child nobody can take what was queued before.)
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Relaxed) || self.is_foreign()
    }

    /// (3) Called by the drainer: moves the entries to `entries`, which is empty, and whose memory
    /// is reused.
    pub(crate) fn drain(&self, entries: &mut Vec<Runnable>) {
        if !self.is_empty()
            && let Some(mut state) = self.lock()
        {
            self.filled.store(false, Ordering::Relaxed);
            mem::swap(&mut state.entries, entries);
        }
    }

    /// (2) Called by the drainer before it checks a last time and sleeps. `false`: there are
    /// entries.
    pub(crate) fn begin_sleep(&self, place: SleepPlace) -> bool {
        let Some(mut state) = self.lock() else {
            return true;
        };
        let empty = state.entries.is_empty();
        #[cfg(loom)]
        if fault::in_two_steps() {
            drop(state);
            state = self.state.lock();
        }
        state.sleep = empty.then_some(place);
        empty
    }

    /// (4) Called by the drainer after its sleep, or if it has found work after all.
    pub(crate) fn end_sleep(&self) {
        if let Some(mut state) = self.lock() {
            state.sleep = None;
        }
    }

    /// (4) Called by any thread after it has left work for the drainer elsewhere. Returns where the
    /// drainer sleeps, if this thread must wake it.
    pub(crate) fn ring(&self) -> Option<SleepPlace> {
        self.lock()?.sleep.take()
    }

    /// (5) Called by the drainer: takes the last entries; none can follow.
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

/// Faults that a model must find.
#[cfg(loom)]
pub(crate) mod fault {
    use std::cell::Cell;

    thread_local! {
        static TWO_STEPS: Cell<bool> = const { Cell::new(false) };
    }

    /// Splits `begin_sleep` into a check and a store.
    pub(crate) fn begin_sleep_in_two_steps(on: bool) {
        TWO_STEPS.set(on);
    }

    pub(super) fn in_two_steps() -> bool {
        TWO_STEPS.get()
    }
}
