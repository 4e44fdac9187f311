//! A worker: what one thread does in a pool, which is to find work and to run it.
//!
//! Most workers are threads of the pool itself (`thread_main.rs`); a thread from outside that calls
//! `join`, `map` or `scope` borrows a slot as an *outside thread* (`enter.rs`) and takes part in
//! its own region only.
//!
//! Each file has a part of its state, and the methods that use it: `search`, how it finds work;
//! `index`, the index that its tasks see; `scope_mark`, which tasks of scopes are its own;
//! `join_window`, which halves of joins it offers; `wait`, how it waits in the middle of its work;
//! `thief_rest`, when it rests between thefts; `in_blocking_call`, calls that may block;
//! `give_way`, when it lets another region go first; `run`, how it runs what it has found;
//! `idle`, how it sleeps; `thread_main`, all of that from a thread's start to its end. The methods
//! here call none of those.
//!
//! - **P13** Only the thread that a worker belongs to calls its methods; other threads see only its
//!   slot.
//!
//! Tests: `tests/thread/pool.rs::{random_graphs_of_work_give_the_sequential_answer,
//! many_outside_threads_use_one_pool_at_once}`.

pub(in crate::thread) mod give_way;
pub(in crate::thread) mod join_window;
pub(in crate::thread) mod thread_main;
pub(in crate::thread) mod wait;

mod idle;
mod in_blocking_call;
mod index;
mod run;
mod scope_mark;
mod search;
mod thief_rest;

use std::cell::Cell;
use std::sync::Arc;

use super::lent::raw_scope_counter::EndedEntries;
use super::registry::Registry;
use super::slot::{NO_PLACE, OwnedSlot, Slot};
use super::wake_policy::{Helping, StolenHalves};
use crate::task::{Runnable, context};
use give_way::Turn;
use in_blocking_call::CallFlag;
use index::IndexCell;
use join_window::Splitter;
use scope_mark::ScopeMark;
use search::Search;
use thief_rest::Rest;

/// What one thread needs to work for a pool: its slot, and state that only it uses.
pub(in crate::thread) struct Worker {
    registry: Arc<Registry>,
    pub(in crate::thread::engine) owned: OwnedSlot,
    search: Search,
    index: IndexCell,
    scopes: ScopeMark,
    rest: Rest,
    splitter: Splitter,
    stolen_halves: StolenHalves,
    /// How many nested waits this thread is parked in.
    wait_depth: Cell<u32>,
    call: CallFlag,
    turn: Turn,
    /// Whether its place was below the pool's width when the thread started, or last went to sleep:
    /// a place that a resize has removed since is not kept while its thread sleeps.
    is_own: Cell<bool>,
    /// Whether this is an outside thread that takes part and is counted in `wake_policy`.
    helps: Cell<bool>,
    /// Tasks of a scope that this thread has run and not yet subtracted from the scope's count.
    pub(in crate::thread) ended: EndedEntries,
}

impl Worker {
    /// A worker in this slot: of one of the pool's own threads, or of an outside thread.
    pub(in crate::thread) fn new(registry: Arc<Registry>, owned: OwnedSlot) -> Self {
        let splitter = Splitter::new(registry.sleep.width());
        let is_own = Cell::new(!registry.sleep.is_spare(&owned.slot.sleeper));
        Self {
            search: Search::new(owned.slot.number),
            index: IndexCell::default(),
            scopes: ScopeMark::new(owned.slot.place()),
            rest: Rest::default(),
            splitter,
            stolen_halves: StolenHalves::default(),
            wait_depth: Cell::new(0),
            call: CallFlag::default(),
            turn: Turn::default(),
            is_own,
            helps: Cell::new(false),
            ended: EndedEntries::default(),
            registry,
            owned,
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

    // ---- counting --------------------------------------------------------

    /// Whether this thread is counted as running, so that the pool cannot end while it runs.
    pub(in crate::thread) fn is_counted(&self) -> bool {
        self.wait_depth.get() == 0
    }

    /// This thread, which counts as running, moves from now on; see `standing.rs`.
    pub(in crate::thread) fn moves(&self) {
        if self.slot().standing.moves() {
            self.stood();
        }
    }

    /// This thread, which counts as running, is about to sleep, or to park in a wait.
    pub(in crate::thread) fn leaves(&self) {
        if self.slot().standing.leaves() {
            self.stood();
        }
    }

    /// This thread was marked, and is not any more.
    #[cold]
    fn stood(&self) {
        self.slot().mailbox.open();
        self.registry.sleep.unblock();
    }
}
