//! The executor's side of the cell, for models and benchmarks.
//!
//! Models and benchmarks are outside this crate (in `tests/trefoil-checks/` and `benches/`) and use
//! its public API; this adds what only executors use. It exists under `--cfg loom` and with the
//! feature `__bench`, and is not part of the public API.
#![allow(missing_docs)]

use std::sync::Arc;

use super::raw;
#[cfg(loom)]
use super::state;
use super::{Inbox, Newborn, Ran, Runnable, Schedule, Task};
use crate::events::Kind;

/// One queue entry.
#[derive(Debug)]
pub struct Entry(Runnable);

impl Entry {
    /// True: the task has ended.
    pub fn run(self) -> bool {
        matches!(self.0.run(), Ran::Done)
    }
}

/// A queue that any thread may push to, shared by a model's executor and wakers.
#[derive(Clone, Default)]
pub struct Queue(Arc<Inbox>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    pub fn push(&self, entry: Entry) {
        match self.0.push(entry.0) {
            Ok(None) => {}
            other => unreachable!("the drainer never sleeps: {other:?}"),
        }
    }

    pub fn drain(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.0.drain(&mut entries);
        entries.into_iter().map(Entry).collect()
    }
}

impl Schedule for Queue {
    fn schedule(&self, runnable: Runnable) {
        self.push(Entry(runnable));
    }
}

/// A claimable closure, queued nowhere.
pub fn closure<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Entry, Task<T>) {
    let (runnable, task) = raw::cell::closure(f, true);
    (Entry(runnable), task)
}

/// A future whose wake-ups go to `queue`.
pub fn future<F>(future: F, queue: &Queue) -> (Entry, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (runnable, task) = Newborn::new(Kind::Future).future(future, queue.clone(), false);
    (Entry(runnable), task)
}

/// A queue that takes any number of entries of one task, as a thread pool's does.
#[cfg(loom)]
#[derive(Clone, Debug, Default)]
pub struct Bag(Arc<crate::loom::Mutex<Vec<Runnable>>>);

#[cfg(loom)]
impl Bag {
    pub fn push(&self, entry: Entry) {
        self.0.lock().push(entry.0);
    }

    pub fn pop(&self) -> Option<Entry> {
        self.0.lock().pop().map(Entry)
    }
}

#[cfg(loom)]
impl Schedule for Bag {
    fn schedule(&self, runnable: Runnable) {
        self.0.lock().push(runnable);
    }
}

/// A future that a waiter may claim.
#[cfg(loom)]
pub fn claimable_future<F>(future: F, bag: &Bag) -> (Entry, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (runnable, task) = Newborn::new(Kind::Future).future(future, bag.clone(), true);
    (Entry(runnable), task)
}

/// A queue whose runner queues what comes back, as an event loop does.
#[cfg(loom)]
#[derive(Clone)]
pub struct Ring(Queue);

#[cfg(loom)]
impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring")
    }
}

/// One turn of a task.
#[cfg(loom)]
#[derive(Debug)]
pub struct Turn(Runnable);

#[cfg(loom)]
impl Turn {
    /// Runs it. Returns the next turn, if it is due at once.
    pub fn run(self) -> Option<Self> {
        match self.0.run() {
            Ran::Done | Ran::Pending => None,
            Ran::Again(entry) => Some(Self(entry)),
        }
    }
}

#[cfg(loom)]
impl Default for Ring {
    fn default() -> Self {
        Self(Queue::default())
    }
}

#[cfg(loom)]
impl Ring {
    /// Takes the turns that other threads have brought.
    pub fn drain(&self) -> Vec<Turn> {
        let mut entries = Vec::new();
        self.0.0.drain(&mut entries);
        entries.into_iter().map(Turn).collect()
    }
}

#[cfg(loom)]
impl Schedule for Ring {
    fn schedule(&self, runnable: Runnable) {
        self.0.schedule(runnable);
    }

    const RUNNER_QUEUES: bool = true;
}

/// A future whose wake-ups go to `ring`.
#[cfg(loom)]
pub fn ring_future<F>(future: F, ring: &Ring) -> (Turn, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (runnable, task) = Newborn::new(Kind::Future).future(future, ring.clone(), false);
    (Turn(runnable), task)
}

/// As [`future`], for a future that never wakes: the bare cell.
#[cfg(not(loom))]
pub fn ready_future<F>(future: F) -> (Entry, Task<F::Output>)
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    #[derive(Clone, Copy)]
    struct Nowhere;
    impl Schedule for Nowhere {
        fn schedule(&self, _: Runnable) {}
    }
    let (runnable, task) = Newborn::new(Kind::Future).future(future, Nowhere, false);
    (Entry(runnable), task)
}

/// A full reference count of a task, shared by several threads.
#[cfg(loom)]
#[derive(Debug)]
pub struct Full(state::CellState);

#[cfg(loom)]
impl Full {
    /// A count that is so much above the limit from which on none is added.
    pub fn new(more: i32) -> Self {
        Self(state::CellState::with_too_many(more))
    }

    pub fn retain(&self) {
        self.0.retain();
    }

    /// True: the cell would be destroyed.
    pub fn release(&self) -> bool {
        self.0.release() != state::Released::Kept
    }

    /// By how much the count is above the limit.
    pub fn more(&self) -> i32 {
        self.0.too_many()
    }
}

/// A cell that a list has (T27), without the rest of either.
#[cfg(loom)]
#[derive(Debug)]
pub struct Listed {
    state: state::CellState,
    is_listed: crate::loom::Mutex<bool>,
    /// Written when the cell is freed.
    memory: crate::loom::UnsafeCell<()>,
}

#[cfg(loom)]
impl Listed {
    /// A promise with two owners.
    pub fn new() -> Self {
        Self {
            state: state::CellState::promised(),
            is_listed: crate::loom::Mutex::new(true),
            memory: crate::loom::UnsafeCell::new(()),
        }
    }

    /// True: the caller has a reference now.
    pub fn find(&self) -> bool {
        let is_listed = self.is_listed.lock();
        if *is_listed {
            self.touch();
        }
        *is_listed && self.state.retain_if_owned()
    }

    /// What an owner, or the list, may do.
    pub fn touch(&self) {
        self.memory.with(|_| ());
    }

    /// Ends the task, for an owner. False: it has ended.
    pub fn end(&self) -> bool {
        let ends = self.state.begin_complete();
        if ends {
            *self.is_listed.lock() = false;
            self.state.retain();
            assert_eq!(self.state.finish(false), state::Finish::Handed);
        }
        ends
    }

    /// True: the cell was freed.
    pub fn release(&self) -> bool {
        let released = self.state.release();
        if released == state::Released::Unfinished {
            *self.is_listed.lock() = false;
        }
        let is_last = released != state::Released::Kept;
        if is_last {
            self.memory.with_mut(|_| ());
        }
        is_last
    }
}

/// Lets the last owner of an unfinished task free it without decreasing the count, or stops that.
#[cfg(loom)]
pub fn decide_early(on: bool) {
    state::fault::decide_early(on);
}

/// Lets a full count be counted down, or stops that, for the whole process.
#[cfg(loom)]
pub fn count_down(on: bool) {
    state::fault::count_down(on);
}

/// Breaks the transition that lends the consumer slot, or repairs it.
#[cfg(loom)]
pub fn break_lend(on: bool) {
    state::fault::break_lend(on);
}
