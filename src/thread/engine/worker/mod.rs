//! A worker: what one thread does in a pool, which is to find work and to run it.
//!
//! Most workers are threads of the pool itself (`thread_main.rs`); a thread from outside that calls
//! `join`, `map` or `scope` borrows a slot as an *outside thread* (`enter.rs`) and takes part in
//! its own region only. `wait.rs` says how a worker waits in the middle of its work.
//!
//! **Finding work.** It looks into 1. its own deques, 2. those of workers that will not look there
//! soon (*unattended* ones: their threads wait, sleep, or have been in one task for long), 3. the
//! injector, 4. the other workers' deques, beginning with a random one. The first three can each
//! have something for ever, and its own deques return the newest. So that nothing is starved, every
//! [`FAIRNESS`]th search begins elsewhere: every other time with the injector, otherwise with an
//! unattended deque, or, every [`ROUND`], with the oldest entry of some deque, one deque after the
//! other, its own included. (Not more often: the oldest entry of a deque may be the root of a tree,
//! and whoever takes it leaves the present tree unfinished, so that more entries lie in the
//! deques.) And every [`STEAL_FIRST`]th search of a worker without own work steals before it looks
//! into the injector.
//!
//! **Tasks of scopes.** While a scope is open on a thread, only its tasks are put into that
//! thread's deque: above the *mark*, which is the deque's length before. So a thread that waits for
//! its scope finds only the scope's tasks there. A worker without an open scope pushes and takes
//! any. Finished tasks are subtracted from their scope's count when something else is run
//! next, so that a worker which runs many tasks of one scope does not write to the count each time.
//!
//! - **P13** Only the thread that a worker belongs to calls its methods; other threads see only its
//!   slot.
//!
//! Tests: `tests/thread/pool.rs`, `tests/thread/starved.rs`; the search from many seeds,
//! `src/thread/engine/worker/simulated.rs`.

pub(in crate::thread) mod give_way;
mod idle;
pub(in crate::thread) mod join_window;
pub(in crate::thread) mod thread_main;
pub(in crate::thread) mod wait;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::lent::raw_job::JobRef;
use super::lent::raw_scope_counter::{EndedEntries, ErasedEntry};
use super::priority::{self, Priority};
use super::queue::{BATCH, DEQUES, Mode, Slots, Work};
use super::registry::Registry;
use super::registry::indices::Indices;
use super::slot::{NO_PLACE, OwnedSlot, Slot};
use super::wake_policy::{Helping, TINY, TheftStats};
use crate::events;
use crate::loom::atomic::Ordering;
use crate::sys::ticks;
use crate::task::{Runnable, TaskError, context};
use join_window::Splitter;

/// Stale entries are dropped after this many scope tasks were run by their handles' threads.
const SWEEP: u32 = 64;

/// One search in this many does not begin with the worker's own deques.
const FAIRNESS: u32 = 61;

/// The pause between two rounds, each of which takes the oldest entry of some deque, although other
/// queues have something.
const ROUND: u64 = 10_000 * ticks::MICROSECOND;

/// The most searches in [`FAIRNESS`] between two rounds: the clock may stand still.
const LATEST: u32 = 1024;

/// One search in this many, of a worker without work of its own, steals before it looks into the
/// injector.
const STEAL_FIRST: u32 = 16;

/// What one thread needs to work for a pool: its slot, and state that only it uses.
pub(in crate::thread) struct Worker {
    registry: Arc<Registry>,
    pub(in crate::thread) owned: OwnedSlot,
    /// The pool's slots as this worker last saw them, and the version of the list.
    seen: RefCell<Option<(usize, Slots<Slot>)>>,
    random: Cell<u32>,
    /// How many times this thread has looked for work.
    searches: Cell<u32>,
    fairness: Cell<Fairness>,
    pub(in crate::thread) splitter: Splitter,
    pub(in crate::thread) thefts: TheftStats,
    /// Whether its place was below the pool's width when the thread started, or last went to sleep:
    /// a place that a resize has removed since is not kept while its thread sleeps.
    pub(in crate::thread) is_own: Cell<bool>,
    /// How many nested waits this thread is parked in; see `wait.rs`.
    pub(in crate::thread) blocked: Cell<u32>,
    /// Whether this thread is in a call that may block, and that is counted; see
    /// `thread/spawn_blocking.rs`.
    pub(in crate::thread) in_call: Cell<bool>,
    /// Whether this thread waits for work that a thread of some pool runs, or will run.
    pub(in crate::thread) waits_for_pool: Cell<bool>,
    /// The thread's index, while it runs something; see `indices.rs`.
    index: Cell<Option<usize>>,
    /// Whose tasks this thread takes from its deque of scopes' tasks: the address of the innermost
    /// scope that is open on it, or [`ANY_SCOPE`], or [`NO_SCOPE`]; and the mark, the `depth` above
    /// which those tasks lie.
    pub(in crate::thread) open_scope: Cell<(usize, usize)>,
    /// How many tasks of scopes this thread has pushed to its deque and not popped. Thieves do not
    /// subtract theirs, so it is an upper bound.
    depth: Cell<usize>,
    /// The address of the scope's task that this thread pushed last.
    newest_scoped: Cell<usize>,
    /// How many entries of the deque have become stale since the last sweep, because the thread
    /// that joins the handle has run the task.
    stale: Cell<u32>,
    /// Tasks of a scope that this thread has run and not yet subtracted from the scope's count.
    pub(in crate::thread) ended: EndedEntries,
    /// Whether this is an outside thread that takes part and is counted in `wake_policy`.
    helps: Cell<bool>,
    /// The priority that this thread looks for in the deques of others.
    seeks: Cell<Priority>,
    /// Since when it has run what it runs without giving way to work of the same priority; 0: since
    /// it looks for the first time.
    pub(in crate::thread) turn: Cell<u64>,
}

/// Which queue a search in [`FAIRNESS`] begins with.
#[derive(Clone, Copy, Default)]
struct Fairness {
    /// How many such searches there were.
    turn: u32,
    /// The deque that the next [`ROUND`] begins with, in the order of the slots.
    next: usize,
    /// When the last round was, and in which turn.
    last: (u64, u32),
}

impl Fairness {
    fn round_is_due(&self) -> bool {
        let (time, turn) = self.last;
        ticks::since(time) >= ROUND || self.turn.wrapping_sub(turn) >= LATEST
    }
}

/// The address in `open_scope` while no scope is open on this thread: it runs tasks of any.
const ANY_SCOPE: usize = 0;
/// The address in `open_scope` if this thread runs no tasks of scopes: an outside thread that does
/// not help, or one without an open scope; or if its deque may not have them, because the scope was
/// opened by work of another priority than the normal one.
const NO_SCOPE: usize = 1;

impl Worker {
    /// A worker in this slot: of one of the pool's own threads, or of an outside thread.
    pub(in crate::thread) fn new(registry: Arc<Registry>, owned: OwnedSlot) -> Self {
        let splitter = Splitter::new(registry.sleep.width());
        let is_own = Cell::new(!registry.sleep.is_spare(&owned.slot.sleeper));
        owned.slot.set_priority(priority::current());
        let random = Cell::new((owned.slot.number as u32).wrapping_mul(0x9E37_79B9) | 1);
        let open_scope = match owned.slot.place() {
            NO_PLACE => (NO_SCOPE, 0),
            _ => (ANY_SCOPE, 0),
        };
        Self {
            registry,
            owned,
            seen: RefCell::new(None),
            random,
            searches: Cell::new(0),
            fairness: Cell::default(),
            splitter,
            thefts: TheftStats::default(),
            is_own,
            blocked: Cell::new(0),
            in_call: Cell::new(false),
            waits_for_pool: Cell::new(false),
            index: Cell::new(None),
            open_scope: Cell::new(open_scope),
            depth: Cell::new(0),
            newest_scoped: Cell::new(0),
            stale: Cell::new(0),
            ended: EndedEntries::default(),
            helps: Cell::new(false),
            seeks: Cell::new(Priority::Normal),
            turn: Cell::new(0),
        }
    }

    #[inline]
    pub(in crate::thread) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    #[inline]
    pub(in crate::thread) fn slot(&self) -> &Arc<Slot> {
        &self.owned.slot
    }

    /// This thread's place: its number among the pool's threads.
    pub(in crate::thread) fn place(&self) -> usize {
        self.owned.slot.place()
    }

    // ---- its index -------------------------------------------------------

    /// The pool's indices. None in a forked child: no other thread needs one there, and their lock
    /// may be held for ever.
    fn indices(&self) -> Option<&Indices> {
        (!self.registry.is_foreign()).then_some(&self.registry.indices)
    }

    /// The index that this thread's tasks see, which is below the width.
    pub(in crate::thread) fn index(&self) -> usize {
        let width = self.registry.sleep.width();
        self.index.get().unwrap_or(self.place()) % width
    }

    /// Takes an index, or another one if the present one may be shared or is not below the width.
    /// Called before this thread runs something.
    #[inline]
    pub(in crate::thread) fn take_index(&self) {
        let registry = &self.registry;
        let width = registry.sleep.width();
        let is_good = |index| index < width && !registry.indices.are_shared();
        if !self.index.get().is_some_and(is_good)
            && let Some(indices) = self.indices()
        {
            self.leave_index();
            self.index.set(Some(indices.take(self.place(), width)));
        }
    }

    /// Gives the index back. Called when this thread stops running work.
    pub(in crate::thread) fn leave_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.take(), self.indices()) {
            indices.give_back(index);
        }
    }

    /// Lets other threads use the index. Called before this thread parks in a wait.
    pub(in crate::thread) fn lend_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.get(), self.indices()) {
            indices.give_back(index);
        }
    }

    /// Takes the index of before the wait again, even if another thread has it now.
    pub(in crate::thread) fn resume_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.get(), self.indices()) {
            indices.take_again(index);
        }
    }

    /// Calls `f`, which does not unwind, with this index instead.
    pub(in crate::thread) fn with_index(&self, index: usize, f: impl FnOnce()) {
        if let Some(indices) = self.indices() {
            indices.take_again(index);
        }
        let before = self.index.replace(Some(index));
        f();
        self.leave_index();
        self.index.set(before);
    }

    /// Whether this thread is counted as running, so that the pool cannot end while it runs.
    pub(in crate::thread) fn is_counted(&self) -> bool {
        self.blocked.get() == 0
    }

    /// Whether this thread may run the pool's work: it is the pool's own, or an outside thread that
    /// helps.
    #[inline]
    pub(in crate::thread) fn may_run(&self) -> bool {
        self.place() != NO_PLACE || self.registry.config.caller_helps
    }

    /// Counts an outside thread as one that takes part, until the guard is dropped.
    #[inline]
    pub(in crate::thread) fn helps(&self) -> Option<Helping<'_>> {
        let counts = self.place() == NO_PLACE && !self.helps.replace(true);
        counts.then(|| self.registry.wake_policy.outsider(&self.helps))
    }

    // ---- its priority ----------------------------------------------------

    /// Whether what this thread queues now may lie in its own deques, which have normal work only,
    /// except for the halves of joins.
    #[inline]
    pub(in crate::thread) fn is_normal(&self) -> bool {
        !self.registry.injector.is_ranked() || priority::current() == Priority::Normal
    }

    // ---- pushing ---------------------------------------------------------

    /// Queues a task in this worker's deque. Not for outside threads, because these leave the pool.
    pub(in crate::thread) fn push_task(&self, task: Runnable) {
        context::set_newest(&task);
        self.owned.local.push_task(task);
        if !self.is_counted() {
            // It is polling a future in the middle of a wait.
            self.leave_queues();
        }
        self.registry.published();
    }

    /// This thread will not look into its deques soon.
    pub(in crate::thread) fn leave_queues(&self) {
        self.registry.leave_queues(self.slot());
    }

    /// This thread looks into its deques again.
    pub(in crate::thread) fn return_to_queues(&self) {
        self.registry.attend_to_queues(self.slot());
    }

    // ---- tasks of scopes -------------------------------------------------

    /// Opens the scope at this address on this thread, and sets its mark, the `depth` at this
    /// moment. Returns the previous `open_scope`.
    pub(in crate::thread) fn enter_scope(&self, address: usize) -> (usize, usize) {
        let takes = self.may_run() && self.is_normal();
        let address = if takes { address } else { NO_SCOPE };
        self.open_scope.replace((address, self.depth.get()))
    }

    /// Whether tasks of the scope at this address may be pushed to this worker's deque.
    pub(in crate::thread) fn takes_scope(&self, address: usize) -> bool {
        let open = self.open_scope.get().0;
        open == address || (open == ANY_SCOPE && self.is_normal())
    }

    pub(in crate::thread) fn push_scoped(&self, lent: ErasedEntry) {
        self.newest_scoped.set(lent.address());
        self.depth.set(self.depth.get() + 1);
        self.slot().scope.store(lent.counter(), Ordering::Relaxed);
        self.owned.local.scoped.push(lent);
        self.registry.published();
    }

    /// The newest task above the mark: of the innermost scope that is open here, or of any scope if
    /// none is.
    pub(in crate::thread) fn pop_scoped(&self) -> Option<ErasedEntry> {
        // Thieves take the oldest task. So if one below the mark is still there, all tasks above it
        // are, too.
        let (_, mark) = self.open_scope.get();
        let depth = self
            .depth
            .get()
            .checked_sub(1)
            .filter(|depth| *depth >= mark)?;
        let lent = self.owned.local.scoped.pop()?;
        self.depth.set(depth);
        Some(lent)
    }

    /// The newest such task, if it is the one at this address. Drops older ones that their handles'
    /// threads have run.
    pub(in crate::thread) fn take_scoped(&self, address: usize) -> Option<ErasedEntry> {
        if self.newest_scoped.get() != address {
            self.sweep_scoped();
            return None;
        }
        let newest = self.pop_scoped()?;
        if newest.address() != address {
            // Pushed back as a new task, because another thread may have looked meanwhile and not
            // seen it.
            self.push_scoped(newest);
            return None;
        }
        while let Some(older) = self.pop_scoped() {
            if !older.is_taken() {
                self.push_scoped(older);
                break;
            }
        }
        Some(newest)
    }

    /// Called when a handle's thread runs a scope task whose entry stays in this deque: drops such
    /// entries now and then, so that they do not fill it.
    fn sweep_scoped(&self) {
        self.stale.set(self.stale.get() + 1);
        if self.stale.get() == SWEEP {
            self.stale.set(0);
            let newest: Vec<ErasedEntry> =
                (0..SWEEP * 2).map_while(|_| self.pop_scoped()).collect();
            let (stale, live): (Vec<_>, Vec<_>) =
                newest.into_iter().rev().partition(ErasedEntry::is_taken);
            live.into_iter().for_each(|lent| self.push_scoped(lent));
            // Last, because the destructor of a task's result may wait for another task.
            drop(stale);
        }
    }

    /// For a thread that waits for the scope with this counter: one of its tasks, from another
    /// worker's deque.
    pub(in crate::thread) fn steal_scoped(&self, counter: usize) -> Option<ErasedEntry> {
        let has_some = |slot: &&Arc<Slot>| {
            let has_some =
                slot.scope.load(Ordering::Relaxed) == counter && slot.place() != NO_PLACE;
            has_some && !slot.public.scoped.is_empty()
        };
        let registry = &self.registry;
        if registry.injector.mode() == Mode::Closed {
            return None;
        }
        let slot = self.with_slots(|slots| slots.iter().find(has_some).cloned())?;
        // Until `allow_end` the pool must not end.
        registry.sleep.delay_end();
        let mut found = slot.public.steal_scoped();
        if let Some(stranger) = found.take_if(|lent| lent.counter() != counter) {
            // Tasks of the wanted scope may be behind it. They are looked for only after that
            // worker has pushed another.
            slot.scope.store(stranger.counter(), Ordering::Relaxed);
            registry.injector.put_back(Work::Scoped(stranger));
        }
        registry.sleep.allow_end();
        registry.recheck();
        found
    }

    // ---- finding ---------------------------------------------------------

    pub(in crate::thread) fn next_random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    pub(in crate::thread) fn with_slots<R>(&self, f: impl FnOnce(&[Arc<Slot>]) -> R) -> R {
        let (mut seen, now) = (self.seen.borrow_mut(), self.registry.slots.version());
        match &*seen {
            Some((version, slots)) if *version == now => f(slots),
            _ => f(&seen.insert((now, self.registry.slots())).1),
        }
    }

    pub(in crate::thread) fn find(&self) -> Option<Work> {
        let injector = &self.registry.injector;
        let own_share = self.slot().mailbox.take();
        if self.registry.sleep.is_full() {
            return self.took(own_share.or_else(|| injector.pop_urgent())?);
        }
        if injector.is_ranked() {
            return self.took(own_share.or_else(|| self.find_ranked())?);
        }
        let work = own_share.or_else(|| self.find_next())?;
        self.took(work)
    }

    /// The next work of the highest priority.
    #[cold]
    fn find_ranked(&self) -> Option<Work> {
        Priority::ALL.into_iter().find_map(|priority| {
            self.seeks.set(priority);
            let found = match priority {
                Priority::Normal => self.find_next(),
                _ => {
                    let queued = self.registry.injector.pop_of(priority);
                    queued.or_else(|| self.steal())
                }
            }?;
            // Until this thread looks again.
            priority::set(priority);
            self.slot().set_priority(priority);
            Some(found)
        })
    }

    /// The next work where all has the same priority.
    #[inline]
    fn find_next(&self) -> Option<Work> {
        let injector = &self.registry.injector;
        let search = self.searches.get().wrapping_add(1);
        self.searches.set(search);
        let fair = search.is_multiple_of(FAIRNESS);
        fair.then(|| self.find_fairly())
            .flatten()
            .or_else(|| self.pop_scoped().map(Work::Scoped))
            .or_else(|| self.owned.local.tasks.pop().map(Work::Task))
            .or_else(|| injector.pop_next())
            .or_else(|| self.take_unattended())
            .or_else(|| match search.is_multiple_of(STEAL_FIRST) {
                true => self.steal().or_else(|| self.fetch()),
                false => self.fetch().or_else(|| self.steal()),
            })
    }

    /// The oldest entry of a queue that might otherwise be passed over for ever.
    #[cold]
    fn find_fairly(&self) -> Option<Work> {
        let mut fairness = self.fairness.get();
        fairness.turn = fairness.turn.wrapping_add(1);
        self.fairness.set(fairness);
        let injected = || self.registry.injector.pop();
        if fairness.turn.is_multiple_of(2) {
            injected()
        } else if fairness.round_is_due() {
            self.take_round()
        } else {
            self.take_unattended().or_else(injected)
        }
    }

    /// The oldest entry of the next deque of any slot that has one.
    fn take_round(&self) -> Option<Work> {
        let mut fairness = self.fairness.get();
        fairness.last = (ticks::now(), fairness.turn);
        let found = self.with_slots(|slots| {
            let deques = slots.len() * DEQUES;
            (0..deques).find_map(|behind| {
                let deque = (fairness.next + behind) % deques;
                let slot = &slots[deque / DEQUES];
                let work = match deque % DEQUES {
                    0 if !self.seeks_jobs_of(slot) => return None,
                    deque => slot.public.oldest_of(deque)?,
                };
                self.note_theft(&work, slot);
                fairness.next = deque + 1;
                Some(work)
            })
        });
        self.fairness.set(fairness);
        found
    }

    /// Something from the deques of a worker that will not look there soon.
    fn take_unattended(&self) -> Option<Work> {
        if !self.registry.some_unattended() {
            return None;
        }
        self.with_slots(|slots| {
            let mut unattended = slots.iter().filter(|slot| slot.is_unattended());
            unattended.find_map(|slot| {
                let found = self.steal_from(slot);
                if found.is_none() {
                    self.registry.attend_to_queues(slot);
                }
                found
            })
        })
    }

    /// Something from another worker's deques.
    fn steal(&self) -> Option<Work> {
        let start = self.next_random() as usize;
        self.with_slots(|slots| {
            let (before, after) = slots.split_at(start % slots.len());
            let mut slots = after.iter().chain(before);
            slots.find_map(|slot| self.steal_from(slot))
        })
    }

    /// Whether the halves in this slot have the priority that this thread looks for. (Other deques
    /// have normal work only.)
    fn seeks_jobs_of(&self, slot: &Slot) -> bool {
        slot.priority() == self.seeks.get() || !self.registry.injector.is_ranked()
    }

    fn took(&self, work: Work) -> Option<Work> {
        self.thefts.stop_polling(&self.registry.wake_policy);
        self.owned.slot.count_taken();
        Some(work)
    }

    fn steal_from(&self, slot: &Slot) -> Option<Work> {
        let job = match self.seeks_jobs_of(slot) {
            true => slot.public.steal_job(),
            false => None,
        };
        let (work, more) = match job {
            Some(job) => (Work::Job(job), false),
            None if self.seeks.get() != Priority::Normal => return None,
            None => slot.public.steal(&self.owned.local)?,
        };
        if more {
            if let Work::Scoped(lent) = &work {
                // An upper bound: `pop_scoped` finds out if there were fewer.
                self.depth.set(self.depth.get() + BATCH);
                self.slot().scope.store(lent.counter(), Ordering::Relaxed);
            }
            self.registry.published();
        }
        self.note_theft(&work, slot);
        Some(work)
    }

    fn note_theft(&self, work: &Work, slot: &Slot) {
        if events::is_recording() && slot.number != self.owned.slot.number {
            let task = match work {
                Work::Task(task) | Work::Item(task) => task.id().get(),
                _ => 0,
            };
            events::stolen(task, slot.number);
        }
    }

    /// Takes some of the injector's work: returns the first to be run now, and queues the others.
    fn fetch(&self) -> Option<Work> {
        let width = self.registry.sleep.width();
        let injector = &self.registry.injector;
        let (first, more) = injector.pop_some(width, &self.owned.local.tasks)?;
        if more {
            self.registry.published();
        }
        Some(first)
    }

    // ---- running ---------------------------------------------------------

    pub(in crate::thread) fn run(&self, work: Work) {
        // The splitter knows nothing about this work yet.
        self.splitter.reset();
        self.turn.set(0);
        if !matches!(work, Work::Scoped(_)) {
            self.ended.count_off();
        }
        match work {
            Work::Task(task) => {
                if self.registry.injector.mode() == Mode::Cancelling {
                    task.discard(TaskError::Cancelled);
                } else {
                    task.run();
                }
            }
            Work::Item(task) => _ = task.run(),
            Work::Job(job) => {
                let began = ticks::now();
                self.run_half(job);
                return self.thefts.ran(ticks::since(began) < TINY);
            }
            Work::Scoped(lent) => {
                let _noted = events::part("part of a scope");
                lent.run(&self.ended);
            }
            Work::Share(share) => {
                let _noted = events::part("broadcast");
                share.run(&self.ended);
            }
        }
        self.thefts.ran(false);
    }

    /// Runs the half of another worker's join in the middle of a wait.
    pub(in crate::thread) fn run_job(&self, job: JobRef) {
        self.splitter.reset();
        self.run_half(job);
        self.ended.count_off();
    }

    fn run_half(&self, job: JobRef) {
        let _noted = events::part("part of a join or map");
        job.run(self.owned.slot.number);
    }
}

#[cfg(all(test, not(loom)))]
mod simulated;
