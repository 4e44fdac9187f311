//! The part of a loop that other threads may use.
//!
//! A task's wakers, the handles, and sources and timers on other threads all reach the loop through
//! one [`Shared`], which outlives the loop while any of them is left. [`remote`](super::remote) has
//! their entry points.
//!
//! 1. Any thread puts an entry into the [`Inbox`]; if the loop was asleep, that thread wakes it.
//! 2. For other events (the root future was woken; a note about a dropped source or timer) the
//!    thread sets a flag beside the inbox, and then rings.
//! 3. The loop takes all entries at any time. Before it sleeps it marks itself asleep, which fails
//!    if there is an entry, and reads the flags once more.
//! 4. When the loop closes it takes the last entries in the same step. A thread that brings an
//!    entry later drops it, so that its task ends in `Closed`.
//!
//! - **L1** No wake-up is lost: the inbox guarantees it for entries and rings.
//! - **L2** No work is left behind: the loop takes an entry, at the latest when it closes, or
//!   refuses it.
//! - **L5** A closed loop never refuses a future that is not `Send`, which would then be dropped
//!   elsewhere: `spawn_with` pushes its factory while it holds `gate`, which the loop shuts before
//!   it closes; and wake-ups of such a future end with the future, which the loop drops before it
//!   closes.
//!
//! Checked by `checks/tests/loop_models.rs`, which drives the inbox in this way, with loom's
//! condition variable in place of the kernel and with a twin that goes to sleep in two steps; and
//! by `tests/event_loop/`.

use std::cell::Cell;
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
    /// In its own cache lines: others write there while the loop reads the rest.
    pub(super) inbox: CachePadded<Inbox>,
    /// What the loop must check besides the inbox.
    flags: AtomicU32,
    notes: Mutex<Vec<Note>>,
    /// Where the loop sleeps, while the loop exists: handles that outlive it keep no descriptor.
    pub(super) poller: Weak<Poller>,
    /// Wakes the loop where it sleeps while it watches no descriptor.
    unparker: Unparker,
    /// The loop has begun to end: it takes no new tasks.
    closing: AtomicBool,
    /// True once shut; see L5.
    gate: Mutex<bool>,
    /// Its thread.
    pub(super) owner: Thread,
    /// The hook for failures that are not taken, instead of the process's.
    hook: Option<Hook>,
    /// The virtual clock, if it has one.
    clock: OnceLock<Arc<Clock>>,
    /// Where other threads find its tasks.
    pub(super) table: SharedTable,
    /// Whether there is a watchdog: then the table lies there during each poll, too.
    pub(super) watched: bool,
}

/// Work that another thread could not do itself.
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

    /// The time on this loop, for any thread.
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

    /// Marks a new task, before any other thread knows it: its failure goes to this loop's hook.
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

    /// The gate, held open; `None`: the loop is ending, or this is a forked child.
    pub(super) fn hold_gate(&self) -> Option<MutexGuard<'_, bool>> {
        if self.is_foreign() {
            return None;
        }
        let gate = self.gate.lock();
        (!*gate).then_some(gate)
    }

    /// From now on new tasks end in `Closed` at once.
    pub(super) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        *self.gate.lock() = true;
    }

    /// The marker of its thread while it runs, which is only compared. It is also the data of the
    /// root future's waker.
    #[inline]
    pub(super) fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// It runs on this thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        marker::current_loop() == self.identity()
    }

    /// Whether this is a forked child of the loop's process: locks may be held for ever, and no
    /// thread takes what is pushed.
    pub(super) fn is_foreign(&self) -> bool {
        self.inbox.is_foreign()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Ends the loop's sleep.
    fn wake_up(&self, sleep: Sleep) {
        match sleep {
            Sleep::InParker => self.unparker.unpark(),
            Sleep::InPoller => {
                if let Some(poller) = self.poller.upgrade() {
                    poller.wake();
                }
            }
        }
    }
}

debug!(impl Shared, self, owner = self.owner.id());

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
