//! The part of a loop that other threads may use.
//!
//! Wakers of tasks, handles, and sources and timers on other threads all reach the loop through one
//! [`SharedLoop`], which lives until the last of them is dropped, also after the loop's end.
//! [`routing`](super::routing) has their functions.
//!
//! 1. Any thread puts an entry into the [`Inbox`]; if the loop was asleep, that thread wakes it.
//! 2. For other events (the root future was woken; a note about a dropped source or timer) the
//!    thread sets a flag next to the inbox, and then rings the inbox.
//! 3. The loop takes all entries at any time. Before it sleeps it marks itself asleep, which fails
//!    if there is an entry, and reads the flags once more.
//! 4. When the loop closes, it takes the last entries and closes the inbox in one step. A thread
//!    that brings an entry later drops it, so that its task ends in `Closed`.
//!
//! - No wake-up is lost: the inbox guarantees it for entries and rings.
//! - No work is left behind: the loop takes an entry, at the latest when it closes, or
//!   refuses it.
//! - A closed loop never refuses a future that is not `Send`, because that would drop the
//!   future on another thread. `spawn_with` pushes its factory while it holds `gate`, which the
//!   loop shuts before it closes; and wake-ups of such a future end with the future, which the loop
//!   drops before it closes.
//!
//! Tests: `tests/trefoil-checks/tests/loop_models.rs`, which drives the inbox in this way, with
//! loom's condition variable instead of the kernel, and with a broken twin that goes to sleep in
//! two steps; `tests/event_loop/threads.rs::{a_promise_kept_on_another_thread_wakes_the_loop,
//! spawns_that_race_with_the_end_all_end}`.

use std::cell::Cell;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{Thread, ThreadId};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use super::reactor::{Direction, SourceKey};
use super::stats::LoopCounts;
use crate::loom::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::loom::{Mutex, MutexGuard, Parker, Unparker};
use crate::parking::marker;
use crate::sys::poller::Poller;
use crate::task::{Hook, Inbox, Runnable, SleepPlace, notice};
use crate::timer::{Clock, TimerKey};

/// A flag: the root future was woken.
pub(super) const ROOT_WOKEN: u32 = 1;
/// A flag: there are notes.
pub(super) const NOTES: u32 = 2;

/// The part of a loop that other threads see.
pub(crate) struct SharedLoop {
    /// New entries. The inbox has its own cache lines, because other threads write to it while the
    /// loop reads the rest.
    pub(super) inbox: CachePadded<Inbox>,
    /// Which events besides entries the loop must handle.
    flags: AtomicU32,
    notes: Mutex<Vec<Note>>,
    /// Where the loop sleeps, while the loop exists: handles that outlive it keep no descriptor.
    pub(super) poller: Weak<Poller>,
    /// Wakes the loop when it sleeps in its parker, where it sleeps while it watches no descriptor.
    unparker: Unparker,
    /// Whether the loop has begun to end, and takes no new tasks.
    closing: AtomicBool,
    /// Whether the gate is shut: then the loop refuses factories of futures.
    gate: Mutex<bool>,
    /// The loop's thread.
    pub(super) owner: Thread,
    /// The hook for failures that are never taken, which replaces the process's.
    pub(super) hook: Option<Hook>,
    /// The virtual clock, if the loop has one.
    clock: OnceLock<Arc<Clock>>,
    pub(super) counts: CachePadded<LoopCounts>,
}

/// Work for the loop's thread that another thread cannot do.
#[derive(Debug)]
pub(super) enum Note {
    Disarm(TimerKey),
    /// Ends this timer as if it were due: what waits for it has another deadline by now.
    Wake(TimerKey),
    Remove(SourceKey),
    Forget(SourceKey, Direction, u64),
}

// A panic of user code leaves no part of a loop half changed.
impl RefUnwindSafe for SharedLoop {}

impl SharedLoop {
    pub(super) fn new(poller: &Arc<Poller>, parker: &Parker, hook: Option<Hook>) -> Self {
        Self {
            inbox: CachePadded::new(Inbox::default()),
            flags: AtomicU32::new(0),
            notes: Mutex::new(Vec::new()),
            poller: Arc::downgrade(poller),
            unparker: parker.unparker().clone(),
            closing: AtomicBool::new(false),
            gate: Mutex::new(false),
            owner: std::thread::current(),
            hook,
            clock: OnceLock::new(),
            counts: CachePadded::default(),
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

    /// The virtual clock. If there is none, makes one.
    pub(super) fn clock_or_make(&self) -> &Arc<Clock> {
        self.clock.get_or_init(|| Arc::new(Clock::new()))
    }

    /// Marks a new task so that its failure goes to this loop's hook. No other thread may know the
    /// task yet.
    #[inline]
    pub(super) fn set_hook(&self, runnable: &Runnable) {
        if let Some(hook) = &self.hook {
            runnable.set_hook(hook.clone());
        }
    }

    /// (1) Called by other threads: adds an entry, for a new task or for one that was woken.
    pub(super) fn push(&self, runnable: Runnable) {
        match self.inbox.push(runnable) {
            Ok(None) => {}
            Ok(Some(place)) => self.wake_up(place),
            Err(refused) => drop(refused),
        }
    }

    /// (2) Called by any thread: sets a flag.
    pub(super) fn raise(&self, flag: u32) {
        // Release: pairs with the `Acquire` in `take_flags`.
        self.flags.fetch_or(flag, Ordering::Release);
        if let Some(place) = self.inbox.ring() {
            self.wake_up(place);
        }
    }

    /// (2) Called by any thread: leaves a note for the loop. Does nothing if the loop has ended.
    pub(super) fn send_note(&self, note: Note) {
        if !self.inbox.is_closed() {
            self.notes.lock().push(note);
            self.raise(NOTES);
        }
    }

    /// (3) Called by the loop: whether no other thread has left work.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && !self.has_flags()
    }

    /// (3) Called by the loop: whether a flag is set.
    #[inline]
    pub(super) fn has_flags(&self) -> bool {
        self.flags.load(Ordering::Relaxed) != 0
    }

    /// (3) Called by the loop: takes the flags.
    #[inline]
    pub(super) fn take_flags(&self) -> u32 {
        match self.flags.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.flags.swap(0, Ordering::Acquire),
        }
    }

    /// (3) Called by the loop: takes the notes.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock())
    }

    /// Holds the gate open. `None`: the loop is ending, or this is a forked child.
    pub(super) fn hold_gate(&self) -> Option<MutexGuard<'_, bool>> {
        if self.is_foreign() {
            return None;
        }
        let gate = self.gate.lock();
        (!*gate).then_some(gate)
    }

    /// Makes new tasks end in `Closed` at once, from now on.
    pub(super) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        *self.gate.lock() = true;
    }

    /// The marker of the loop's thread while the loop runs. It is only compared. It is also the
    /// data of the root future's waker.
    #[inline]
    pub(super) fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    /// Whether the loop runs on this thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        marker::current_loop() == self.identity()
    }

    /// Whether this is a forked child of the loop's process: locks may be held forever, and no
    /// thread takes what is pushed.
    pub(crate) fn is_foreign(&self) -> bool {
        self.inbox.is_foreign()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Passes a notice to the loop's hook, or the process's.
    pub(crate) fn notice(&self, what: &str) {
        notice(what, self.hook.clone());
    }

    /// Wakes the loop where it sleeps.
    fn wake_up(&self, place: SleepPlace) {
        match place {
            SleepPlace::Parker => self.unparker.unpark(),
            SleepPlace::Poller => {
                if let Some(poller) = self.poller.upgrade() {
                    poller.wake();
                }
            }
        }
    }
}

debug!(impl SharedLoop, self, owner = self.owner.id());

/// The id of this thread, cached.
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
