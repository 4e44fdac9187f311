//! Waiting in the middle of a pool's work.
//!
//! **A wait never runs unrelated work.** A worker that waits
//! - for the stolen half of a join *leapfrogs*: it takes jobs only from the worker that runs the
//!   stolen half. Those are its descendants: when that worker began the half, its jobs deque was
//!   empty (it was at the bottom of its stack, or itself waiting for a stolen half, and thieves
//!   take the oldest half first), so everything there now was pushed by the half. If the half ends
//!   in between, the job taken may be unrelated: it is given back to its owner, not run;
//! - for the end of a scope runs this scope's tasks (`scope/scoped_task.rs`);
//! - for anything else runs the awaited task, if no thread has begun it (`Task::wait`,
//!   `task/handle.rs`), and nothing more.
//!
//! If there is nothing to run, it spins for a moment and then parks as *blocked*; how many blocked
//! workers are replaced by spares is decided in `sleep/spares.rs`.
//!
//! So the code that runs inside a wait is code that the sequential program would have run there,
//! under the same locks and borrows and at no smaller depth of its stack.
//!
//! **Who counts as waiting.** A thread that parks in a wait; and one from outside while it takes
//! part (`enter.rs`), since it may get stuck in the very work that it waits for. A worker that runs
//! the awaited work itself does not: for its pool that is the same as if its task had called the
//! function, and counting it would cost each such join two writes to a line that all threads share.
//! Whatever waits for *that* task counts.
//!
//! Waits nest: a future that is polled between two parks of one wait may wait itself. Only the
//! outermost wait counts as blocked.
//!
//! Rejected: running any queued work while waiting (deadlocks on locks held across the wait;
//! unbounded stacks).
//!
//! Sources: Wagner & Calder, *Leapfrogging* (1993); `ForkJoinPool`'s compensation.
//!
//! Tests: `tests/thread/pool.rs` (waits, unrelated tasks, stalls, depth).

use std::cell::Cell;
use std::time::Duration;

use crate::events;
use crate::loom::atomic::Ordering;
use crate::loom::{hint, thread};
use crate::parking::park::{self, Blocker};
use crate::sys::ticks;
use crate::thread::engine::config::{SHORTLY, STALL};
use crate::thread::engine::lent::latch::Latch;
use crate::thread::engine::lent::raw_job::StackJob;
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::slot_list::numbered;
use crate::thread::engine::registry::{ask_for_all, look_into_all, some_lack_threads, waiters};
use crate::thread::engine::sleep::ProcessWaiters;
use crate::thread::engine::worker::Worker;

/// How many times a waiter that may help checks before it yields: some microseconds.
pub(in crate::thread) const ROUNDS: u32 = 200;

/// What handing a half over costs. A waiter takes none from its thief before that has run the
/// stolen one for so long, or so soon after one that was shorter: otherwise two workers might take
/// ever smaller ones from each other.
const HANDOVER_TICKS: u64 = 2 * ticks::MICROSECOND;

/// How many times a waiter checks whether the thief is done meanwhile: about as long.
const PATIENT_ROUNDS: u32 = ROUNDS / 4;

/// The waits that a worker is in.
#[derive(Default)]
pub(super) struct Waiting {
    /// How many nested waits this thread is parked in.
    depth: Cell<u32>,
    /// Whether it waits for work that a thread of some pool runs, or will run.
    for_pool: Cell<bool>,
}

impl Worker {
    /// Whether this thread is counted as running, so that the pool cannot end while it runs.
    pub(in crate::thread) fn is_counted(&self) -> bool {
        self.waiting.depth.get() == 0
    }

    /// Calls `f` while this thread counts as blocked: the pool does not end before it, and others
    /// run what it queues.
    pub(super) fn as_blocked(&self, f: impl FnOnce()) {
        self.registry().sleep.delay_end();
        self.waiting.depth.set(1);
        f();
        self.waiting.depth.set(0);
        self.registry().sleep.allow_end();
        self.registry().recheck();
    }

    /// Waits until `done`, helping with `help` as long as that finds something. `park` announces
    /// that this thread is about to park, and returns false if it need not. `rounds`: how many
    /// times the thread checks before it yields.
    pub(in crate::thread) fn wait(
        &self,
        rounds: u32,
        done: impl Fn() -> bool,
        park: impl Fn() -> bool,
        mut help: impl FnMut() -> bool,
    ) {
        let mut round = 0;
        let mut looks = None;
        loop {
            if done() {
                return;
            }
            self.registry().assert_not_forked();
            if help() {
                round = 0;
            } else if round < rounds {
                round += 1;
                hint::spin_loop();
            } else if !looks
                .get_or_insert_with(|| ticks::Looks::new(SHORTLY))
                .are_over()
            {
                thread::yield_now();
            } else if park() {
                // Once more after each wake-up: there may be something to help with now.
                waits_for_pool(true);
                park::blocked(|| {
                    let _noted = events::waits();
                    self.park();
                });
                waits_for_pool(false);
            } else {
                return;
            }
        }
    }

    /// Parks in a wait; while the system refuses some pool its threads, only for a while.
    pub(super) fn park(&self) {
        match Compensate.retry_after() {
            None => {
                let _asleep = events::falls_asleep(true);
                self.owned.parker.park();
            }
            Some(pause) => self.owned.parker.park_timeout(pause),
        }
    }

    /// Waits for a latch, without helping or spinning: the thread that sets it may need this
    /// processor.
    pub(in crate::thread) fn wait_for(&self, latch: &Latch) {
        self.wait(0, || latch.is_set(), || latch.park(), || false);
    }

    /// This worker parks: another thread replaces it. Only the outermost wait counts: a future that
    /// is polled between two parks of one wait may wait itself.
    fn block(&self) {
        let depth = self.waiting.depth.replace(self.waiting.depth.get() + 1);
        self.leave_queues();
        if depth > 0 {
            return;
        }
        self.pause_call();
        self.lend_index();
        if !self.waiting.for_pool.get() {
            self.slot().wait_begins_or_ends();
        }
        self.registry().close_mailbox(self.slot(), || true);
        self.registry().block();
    }

    fn unblock(&self) {
        let depth = self.waiting.depth.get() - 1;
        self.waiting.depth.set(depth);
        if depth > 0 {
            return;
        }
        self.return_to_queues();
        self.slot().mailbox.open();
        if !self.slot().continues.swap(false, Ordering::Relaxed) {
            self.registry().sleep.unblock();
        }
        if !self.waiting.for_pool.get() {
            self.slot().wait_begins_or_ends();
        }
        self.resume_index();
        self.resume_call();
    }

    /// Waits for the stolen half of a join, by leapfrogging.
    pub(in crate::thread) fn wait_for_thief(&self, stolen: &StackJob<'_>) {
        let latch = stolen.latch();
        // Once this wait has proved not to be short, the thief should offer halves.
        let (mut looks, mut counted, mut was_short) = (0, None, false);
        let help = || {
            looks += 1;
            if looks == ROUNDS {
                counted = Some(self.registry().wake_policy.waiter());
            }
            if let Some(job) = stolen.take_back() {
                (looks, counted) = (0, None);
                self.run_job(job);
                return true;
            }
            let Some((thief, runs)) = stolen.thief() else {
                return false;
            };
            if looks < PATIENT_ROUNDS && (was_short || runs < HANDOVER_TICKS) {
                return false;
            }
            let steal = || numbered(&self.slots(), thief)?.public.steal_job();
            let Some(job) = steal() else {
                return false;
            };
            events::stolen(0, thief);
            // The code that runs next may wait itself, and does not count as waiting.
            (looks, counted) = (0, None);
            if latch.is_set() {
                // The thief may have gone on to something else, so this job may be unrelated. Its
                // owner waits for it, or will, and may run it during that wait. (In the injector
                // only a worker that is not waiting would find it, and if the system gives no more
                // threads there may never be one.)
                job.give_back();
            } else {
                let began = ticks::now();
                self.run_job(job);
                was_short = ticks::since(began) < HANDOVER_TICKS;
            }
            true
        };
        self.wait(ROUNDS, || latch.is_set(), || latch.park(), help);
        // What was run meanwhile says nothing about what follows.
        self.splitter.reset();
    }
}

/// Whether this thread waits for work that some pool's thread runs, or will run: no reason to begin
/// other work in its own pool.
fn waits_for_pool(waits: bool) {
    current::with_home(|home| home.map(|home| home.waiting.for_pool.set(waits)));
}

/// This thread counts as waiting until this is dropped: if queued work of some pool stands still
/// meanwhile, one more thread of that pool runs.
#[must_use]
pub(in crate::thread) struct Waits<'a>(&'a ProcessWaiters);

impl<'a> Waits<'a> {
    #[inline]
    pub(in crate::thread) fn begin(waiters: &'a ProcessWaiters) -> Self {
        if waiters.begin() {
            look_into_all();
        }
        Self(waiters)
    }
}

impl Drop for Waits<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Called before and after any thread parks in a wait of this crate: if it is a worker, its pool
/// lets another thread replace it; and every pool that stands still counts it as waiting. While the
/// system refuses a pool its threads, every thread that waits asks again, whatever it waits for.
pub(in crate::thread) struct Compensate;

impl Blocker for Compensate {
    fn enter(&self, waits: bool) {
        current::with_home(|home| home.map(Worker::block));
        if waits {
            std::mem::forget(Waits::begin(waiters()));
        }
        if some_lack_threads() {
            ask_for_all();
        }
    }

    fn leave(&self, waits: bool) {
        current::with_home(|home| home.map(Worker::unblock));
        if waits {
            waiters().end();
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        some_lack_threads().then_some(STALL)
    }
}
