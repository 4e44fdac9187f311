//! What other threads may touch of a loop.
//!
//! A task's wakers, the handles, sources and timers that were carried to other
//! threads: all of them reach the loop through one [`Shared`], which outlives
//! the loop for as long as any of them is left.
//!
//! 1. A wake-up on the loop's own thread goes straight into its queue. From
//!    elsewhere it goes into the [`Mailbox`], which takes no lock, and wakes the loop
//!    only if it sleeps.
//! 2. A source or timer that is dropped elsewhere leaves a note, and rings. This
//!    path takes a lock; no wake-up does.
//! 3. Once the loop has closed, what is brought ends in `Closed`.
//!
//! - **L5** A future that is not `Send` is never refused by a closed loop, to be dropped elsewhere:
//!   `spawn_with` brings its factory in while it holds `gate`, which the loop
//!   shuts before it closes; and wake-ups of such a future end with the future,
//!   which the loop drops before it closes.
//!
//! Checked by `tests/event_loop/`; the mailbox by its models.

use std::cell::Cell;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use super::current;
use super::live::Stand;
use super::mailbox::Mailbox;
use super::raw_link::Link;
use super::reactor::{Direction, SourceKey};
use super::snapshot::Snapshot;
use crate::alarm::{Clock, Timekeeper, TimerKey};
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Mutex, MutexGuard};
use crate::sys::berth::Berth;
use crate::sys::poller::Unwatch;
use crate::task::{Brought, Hook, Runnable, Schedule, Sleep};

/// How long a loop that runs is waited for by who wants to see its tasks.
const ANSWER: Duration = Duration::from_secs(1);

/// The part of a loop that other threads see.
pub(crate) struct Shared {
    /// By itself in its lines of the cache: others write there while the loop looks at the rest.
    pub(super) mail: CachePadded<Mailbox>,
    /// Its descriptor makes the loop's wait return.
    descriptor: mio::Waker,
    /// Where the loop sleeps while it watches nothing.
    pub(super) berth: Berth,
    /// The root future was woken.
    root_woken: AtomicBool,
    /// The loop has begun to end: it takes no new tasks.
    closing: AtomicBool,
    owner: ThreadId,
    notes: Mutex<Vec<Note>>,
    /// There are notes: saves the loop a lock for each turn.
    noted: AtomicBool,
    /// True once shut; see L5.
    gate: Mutex<bool>,
    /// Whom to tell of a failure that nobody took, in place of the process's hook.
    hook: Option<Hook>,
    /// The virtual clock, if it has one.
    clock: Option<Arc<Clock>>,
    /// Where others find its tasks.
    pub(super) stand: Stand,
    /// Its table lies there for good.
    watched: bool,
    /// Set by the loop's thread before it watches the first descriptor that is lent.
    unwatch: OnceLock<Unwatch>,
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
        descriptor: mio::Waker,
        hook: Option<Hook>,
        clock: Option<Arc<Clock>>,
        watched: bool,
    ) -> Self {
        Self {
            mail: CachePadded::new(Mailbox::new()),
            descriptor,
            berth: Berth::new(),
            root_woken: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            owner: this_thread(),
            notes: Mutex::new(Vec::new()),
            noted: AtomicBool::new(false),
            gate: Mutex::new(false),
            hook,
            clock,
            stand: Stand::new(),
            watched,
            unwatch: OnceLock::new(),
        }
    }

    /// What time it is on this loop, for any thread.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        match &self.clock {
            None => Instant::now(),
            Some(clock) => clock.now(),
        }
    }

    pub(super) fn clock(&self) -> Option<&Arc<Clock>> {
        self.clock.as_ref()
    }

    /// Its tasks, for any thread.
    pub(super) fn snapshot(&self) -> Snapshot {
        if let Some(home) = current::home_of(self) {
            return home.snapshot();
        }
        self.stand
            .look(ANSWER, self.watched)
            .unwrap_or_else(Snapshot::unanswered)
    }

    /// A new task, before anybody else knows of it: its failure is this loop's.
    #[inline]
    pub(super) fn mark(&self, runnable: &Runnable) {
        if let Some(hook) = &self.hook {
            runnable.set_hook(hook.clone());
        }
    }

    /// Brings an entry to the loop, from any thread.
    pub(super) fn deliver(&self, runnable: Runnable) {
        let mut entry = Some(runnable);
        current::with(|home| {
            if std::ptr::eq(&raw const *home.shared, self)
                && let Some(runnable) = entry.take()
            {
                home.enqueue(runnable);
            }
        });
        if let Some(runnable) = entry {
            let kept = None;
            self.bring(Brought { runnable, kept });
        }
    }

    /// As `deliver`, where the loop does not run on this thread: a new task, too.
    pub(super) fn bring(&self, brought: Brought) {
        self.mail.post(brought, |sleep| self.wake_up(sleep));
    }

    /// The gate, held open; `None`: the loop is ending.
    pub(super) fn hold_gate(&self) -> Option<MutexGuard<'_, bool>> {
        let gate = self.gate.lock();
        (!*gate).then_some(gate)
    }

    /// As `bring`, for an entry that must not be refused (L5).
    pub(super) fn bring_through(&self, gate: MutexGuard<'_, bool>, brought: Brought) {
        self.bring(brought);
        drop(gate);
    }

    /// Leaves a note for the loop; does nothing if it has ended.
    fn leave_note(&self, note: Note) {
        if self.mail.is_closed() {
            return;
        }
        self.notes.lock().push(note);
        self.noted.store(true, Ordering::Release);
        self.mail.ring(|sleep| self.wake_up(sleep));
    }

    /// A source is gone, on whichever thread.
    pub(crate) fn remove_source(&self, key: SourceKey) {
        match current::home_of(self) {
            Some(home) => home.remove(key),
            None => self.leave_note(Note::Remove(key)),
        }
    }

    pub(super) fn can_unwatch(&self) -> bool {
        self.unwatch.get().is_some()
    }

    pub(super) fn set_unwatch(&self, unwatch: Unwatch) {
        let _ = self.unwatch.set(unwatch);
    }

    /// A descriptor that is lent is not watched any longer, on whichever thread.
    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>) {
        if let Some(unwatch) = self.unwatch.get() {
            unwatch.end(fd);
        }
    }

    /// A future that waited for a source is gone, on whichever thread.
    pub(crate) fn forget_waiter(&self, key: SourceKey, direction: Direction, number: u64) {
        match current::home_of(self) {
            Some(home) => home.forget(key, direction, number),
            None => self.leave_note(Note::Forget(key, direction, number)),
        }
    }

    /// The notes left since the last call.
    pub(super) fn take_notes(&self) -> Vec<Note> {
        if !self.has_notes() || !self.noted.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.notes.lock())
    }

    pub(super) fn has_notes(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// The root future wants to be polled; from any thread.
    pub(super) fn wake_root(&self) {
        let here = current::with(|home| {
            let ours = std::ptr::eq(&raw const *home.shared, self);
            if ours {
                home.wake_root();
            }
            ours
        });
        if here != Some(true) {
            // Partner: the `Acquire` in `take_root_wake`.
            self.root_woken.store(true, Ordering::Release);
            self.mail.ring(|sleep| self.wake_up(sleep));
        }
    }

    pub(super) fn is_root_woken(&self) -> bool {
        self.root_woken.load(Ordering::Relaxed)
    }

    pub(super) fn take_root_wake(&self) -> bool {
        self.is_root_woken() && self.root_woken.swap(false, Ordering::Acquire)
    }

    /// From now on new tasks end in `Closed` at once.
    pub(super) fn begin_closing(&self) {
        self.closing.store(true, Ordering::Relaxed);
        *self.gate.lock() = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Makes the loop's wait return.
    fn wake_up(&self, sleep: Sleep) {
        match sleep {
            Sleep::Parked => self.berth.wake(),
            Sleep::Asleep => {
                // Cannot fail: mio empties the counter before it would overflow.
                let woken = self.descriptor.wake();
                debug_assert!(woken.is_ok(), "the loop's descriptor: {woken:?}");
            }
        }
    }
}

impl Schedule for Link<Shared> {
    fn schedule(&self, runnable: Runnable) {
        self.deliver(runnable);
    }

    #[inline]
    fn is_owner_thread(&self) -> bool {
        self.is_here() || self.owner == this_thread()
    }

    fn needs_this_thread(&self) -> bool {
        self.owner == this_thread()
    }

    /// Straight into the queue of the loop, which runs it.
    const RUNNER_QUEUES: bool = true;
}

/// A loop is the timekeeper of its thread while it runs.
impl Timekeeper for Link<Shared> {
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        let home =
            current::home_of(self).expect("installed on this thread only while the loop runs here");
        home.arm(deadline, waker)
    }

    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        current::home_of(self).is_some_and(|home| home.refresh(key, waker))
    }

    #[inline]
    fn disarm(&self, key: TimerKey) {
        if self.is_here() {
            drop(current::with(|home| home.take_timer(key)));
        } else {
            self.leave_note(Note::Disarm(key));
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// This thread, cached.
#[inline]
fn this_thread() -> ThreadId {
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
