//! What other threads may touch of a loop.
//!
//! A task's wakers, the handles, sources and timers that were carried to other
//! threads: all of them reach the loop through one [`Shared`], which outlives
//! the loop for as long as any of them is left. How they reach it from which thread is in [`remote`](super::remote).
//!
//! 1. Any thread puts an entry into the [`Inbox`]; if the loop was asleep, that thread wakes it.
//! 2. What is no entry (the root future was woken; a note about a source or a timer that was dropped) sets a flag beside
//!    the inbox, and then the thread rings.
//! 3. The loop takes all that is there, whenever it likes. Before it sleeps it lies down, which fails where an
//!    entry is there, and looks at that word once more.
//! 4. When the loop closes it takes the last of the entries in the same step. What is brought from then on is
//!    dropped by the thread that brings it, so that its task ends in `Closed`.
//!
//! - **L1** No wake-up is lost: for entries and rings alike the inbox sees to it.
//! - **L2** No work is left behind: an entry is taken by the loop, when it closes at the latest, or refused.
//! - **L5** A future that is not `Send` is never refused by a closed loop, to be dropped elsewhere:
//!   `spawn_with` brings its factory in while it holds `gate`, which the loop
//!   shuts before it closes; and wake-ups of such a future end with the future,
//!   which the loop drops before it closes.
//!
//! Checked by `checks/tests/loop_models.rs`, which drives the inbox exactly so, with loom's condition variable in
//! the kernel's place and with a twin that lies down in two steps; and by `tests/event_loop/`.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{Thread, ThreadId};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::reactor::{Direction, SourceKey};
use super::shared_table::SharedTable;
use crate::alarm::{Clock, TimerKey};
use crate::loom::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::loom::{Mutex, MutexGuard, Unparker};
use crate::sync::marker;
use crate::sys::poller::Poller;
use crate::task::{Hook, Inbox, Runnable, Sleep};

/// A flag: the root future was woken.
pub(super) const ROOT_WOKEN: u32 = 1;
/// A flag: there are notes.
pub(super) const NOTES: u32 = 2;

/// The part of a loop that other threads see.
pub(crate) struct Shared {
    /// By itself in its lines of the cache: others write there while the loop looks at the rest.
    pub(super) inbox: CachePadded<Inbox>,
    /// What the loop is to look at beside the inbox.
    flags: AtomicU32,
    notes: Mutex<Vec<Note>>,
    /// Where the loop sleeps, while there is the loop: what outlives it keeps no descriptor.
    pub(super) poller: Weak<Poller>,
    /// Wakes the loop where it sleeps while it watches no descriptor.
    unparker: Unparker,
    /// The loop has begun to end: it takes no new tasks.
    closing: AtomicBool,
    /// True once shut; see L5.
    gate: Mutex<bool>,
    /// Its thread.
    pub(super) owner: Thread,
    /// What to do with a failure that was not taken, in place of the process's hook.
    hook: Option<Hook>,
    /// The virtual clock, if it has one.
    clock: OnceLock<Arc<Clock>>,
    /// Where other threads find its tasks.
    pub(super) table: SharedTable,
    /// There is a watchdog: its table lies there during each poll, too.
    pub(super) watched: bool,
}

/// What another thread could not do itself.
#[derive(Debug)]
pub(super) enum Note {
    Disarm(TimerKey),
    Remove(SourceKey),
    Forget(SourceKey, Direction, u64),
}

impl Shared {
    pub(super) fn new(
        poller: Weak<Poller>,
        unparker: Unparker,
        hook: Option<Hook>,
        clock: Option<Arc<Clock>>,
        watched: bool,
    ) -> Self {
        Self {
            inbox: CachePadded::new(Inbox::default()),
            flags: AtomicU32::new(0),
            notes: Mutex::new(Vec::new()),
            poller,
            unparker,
            closing: AtomicBool::new(false),
            gate: Mutex::new(false),
            owner: std::thread::current(),
            hook,
            clock: clock.map_or_else(OnceLock::new, OnceLock::from),
            table: SharedTable::new(watched),
            watched,
        }
    }

    /// What time it is on this loop, for any thread.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match self.clock() {
            None => Instant::now(),
            Some(clock) => clock.now(),
        }
    }

    #[inline]
    pub(super) fn clock(&self) -> Option<&Arc<Clock>> {
        self.clock.get()
    }

    /// The virtual clock, which is made if there is none.
    pub(super) fn clock_or_make(&self) -> &Arc<Clock> {
        self.clock.get_or_init(|| Arc::new(Clock::new()))
    }

    /// A new task, before any other thread knows of it: its failure is this loop's.
    #[inline]
    pub(super) fn set_hook(&self, runnable: &Runnable) {
        if let Some(hook) = &self.hook {
            runnable.set_hook(hook.clone());
        }
    }

    /// (1) Any thread but the loop's: an entry, of a new task or of one that was woken.
    pub(super) fn push(&self, runnable: Runnable) {
        match self.inbox.push(runnable) {
            Ok(None) => {}
            Ok(Some(sleep)) => self.wake_up(sleep),
            Err(refused) => drop(refused),
        }
    }

    /// (2) Any thread: sets a flag.
    pub(super) fn raise(&self, flag: u32) {
        // Partner: the `Acquire` in `take_flags`.
        self.flags.fetch_or(flag, Ordering::Release);
        if let Some(sleep) = self.inbox.ring() {
            self.wake_up(sleep);
        }
    }

    /// (2) Any thread: a note for the loop; nothing is done if it has ended.
    pub(super) fn send_note(&self, note: Note) {
        if !self.inbox.is_closed() {
            self.notes.lock().push(note);
            self.raise(NOTES);
        }
    }

    /// (3) The loop: no other thread has left anything to do.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && !self.has_flags()
    }

    /// (3) The loop: a flag is set.
    #[inline]
    pub(super) fn has_flags(&self) -> bool {
        self.flags.load(Ordering::Relaxed) != 0
    }

    /// (3) The loop: the flags that were set.
    #[inline]
    pub(super) fn take_flags(&self) -> u32 {
        match self.flags.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.flags.swap(0, Ordering::Acquire),
        }
    }

    /// (3) The loop: the notes sent since the last call.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock())
    }

    /// The gate, held open; `None`: the loop is ending.
    pub(super) fn hold_gate(&self) -> Option<MutexGuard<'_, bool>> {
        let gate = self.gate.lock();
        (!*gate).then_some(gate)
    }

    /// From now on new tasks end in `Closed` at once.
    pub(super) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        *self.gate.lock() = true;
    }

    /// What its thread is marked with while it runs: only compared. It is the data of the root future's waker, too.
    #[inline]
    pub(super) fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// It runs on this thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        marker::current_loop() == self.identity()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Ends the loop's sleep.
    fn wake_up(&self, sleep: Sleep) {
        match sleep {
            Sleep::Parked => self.unparker.unpark(),
            Sleep::Asleep => {
                if let Some(poller) = self.poller.upgrade() {
                    poller.wake();
                }
            }
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner.id())
            .finish_non_exhaustive()
    }
}

/// This thread, cached.
#[inline]
pub(super) fn this_thread() -> ThreadId {
    thread_local! {
        static ME: Cell<Option<ThreadId>> = const { Cell::new(None) };
    }
    ME.with(|me| match me.get() {
        Some(id) => id,
        None => {
            let id = std::thread::current().id();
            me.set(Some(id));
            id
        }
    })
}
