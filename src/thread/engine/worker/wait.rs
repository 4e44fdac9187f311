//! What a worker does while it waits in the middle of its work.
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
//! Tests: `tests/thread/pool.rs::{a_lock_held_across_join_is_safe_from_queued_tasks,
//! a_borrow_held_across_a_wait_is_not_met_by_unrelated_tasks,
//! ten_thousand_tasks_each_wait_for_the_next}`.

use std::cell::Cell;

use crate::events;
use crate::loom::atomic::Ordering;
use crate::loom::{hint, per_thread, thread};
use crate::parking::park;
use crate::sys::ticks;
use crate::thread::engine::config::{SHORTLY, STALL};
use crate::thread::engine::lent::latch::Latch;
use crate::thread::engine::lent::raw_job::StackJob;
use crate::thread::engine::registry::slot_list::numbered;
use crate::thread::engine::registry::some_lack_threads;
use crate::thread::engine::worker::Worker;

/// How many times a waiter that may help checks before it yields: some microseconds.
pub(in crate::thread) const ROUNDS: u32 = 200;

/// What handing a half over costs. A waiter takes none from its thief before that has run the
/// stolen one for so long, or so soon after one that was shorter: otherwise two workers might take
/// ever smaller ones from each other.
const HANDOVER_TICKS: u64 = 2 * ticks::MICROSECOND;

/// How many times a waiter checks whether the thief is done meanwhile: about as long.
const PATIENT_ROUNDS: u32 = ROUNDS / 4;

per_thread! {
    /// Whether this thread waits for work that a thread of some pool runs, or will run: no reason
    /// to begin other work in its own pool.
    static WAITS_FOR_POOL: Cell<bool> = Cell::new(false);
}

/// Whether the time for looks is over, which begins with the first call.
fn is_over(looks: &mut Option<ticks::Looks>) -> bool {
    let looks = looks.get_or_insert_with(|| ticks::Looks::new(SHORTLY));
    looks.are_over()
}

impl Worker {
    /// Calls `f` while this thread counts as blocked: the pool does not end before it, and others
    /// run what it queues.
    pub(super) fn as_blocked(&self, f: impl FnOnce()) {
        self.registry().sleep.delay_end();
        self.wait_depth.set(1);
        f();
        self.wait_depth.set(0);
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
            } else if !is_over(&mut looks) {
                thread::yield_now();
            } else if park() {
                // Once more after each wake-up: there may be something to help with now.
                self.park_replaced();
            } else {
                return;
            }
        }
    }

    /// Parks in a wait; another thread takes this one's place meanwhile.
    fn park_replaced(&self) {
        WAITS_FOR_POOL.with(|waits| waits.set(true));
        park::blocked(|| {
            let _noted = events::waits();
            self.park();
        });
        WAITS_FOR_POOL.with(|waits| waits.set(false));
    }

    /// Parks in a wait; while the system refuses some pool its threads, only for a while.
    pub(super) fn park(&self) {
        if some_lack_threads() {
            return self.owned.parker.park_timeout(STALL);
        }
        let _asleep = events::falls_asleep(true);
        self.owned.parker.park();
    }

    /// Waits for a latch, without helping or spinning: the thread that sets it may need this
    /// processor.
    pub(in crate::thread) fn wait_for(&self, latch: &Latch) {
        self.wait(0, || latch.is_set(), || latch.park(), || false);
    }

    /// This worker parks: another thread replaces it. Only the outermost wait counts: a future that
    /// is polled between two parks of one wait may wait itself. `waits`: for something in
    /// particular.
    pub(in crate::thread::engine) fn block(&self, waits: bool) {
        let depth = self.wait_depth.replace(self.wait_depth.get() + 1);
        self.leave_queues();
        if depth > 0 {
            return;
        }
        self.pause_call();
        self.lend_index(!waits || WAITS_FOR_POOL.with(Cell::get));
        if !WAITS_FOR_POOL.with(Cell::get) {
            self.slot().wait_begins_or_ends();
        }
        self.leaves();
        self.registry().close_mailbox(self.slot(), &|| true);
        self.registry().block();
    }

    /// This worker continues.
    pub(in crate::thread::engine) fn unblock(&self) {
        let depth = self.wait_depth.get() - 1;
        self.wait_depth.set(depth);
        if depth > 0 {
            return;
        }
        self.take_back_index();
        self.return_to_queues();
        self.slot().mailbox.open();
        if !self.slot().continues.swap(false, Ordering::Relaxed) {
            self.registry().sleep.unblock();
        }
        self.moves();
        if !WAITS_FOR_POOL.with(Cell::get) {
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
            self.note_theft(thief, || 0);
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
