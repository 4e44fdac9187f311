//! Exclusive indices, and what scopes have queued, for the models.
//!
//! They drive the real `exclusive_indices` and `scope_queue`. The models are in
//! `tests/trefoil-checks/tests/indices.rs`.
//!
//! Exists under `--cfg loom` only.
#![allow(missing_docs, missing_debug_implementations)]

use std::sync::atomic::Ordering::SeqCst;

use super::engine::lent::scope_queue::{self, ScopeQueue, Ticket};
pub use super::engine::registry::exclusive_indices::Fault;
use super::engine::registry::exclusive_indices::{ExclusiveIndices, fault};
use crate::loom::Mutex;

/// The indices of a pool, each with one running user.
pub struct Indices(ExclusiveIndices);

impl Indices {
    pub fn new(width: usize) -> Self {
        Self(ExclusiveIndices::new(width))
    }

    /// Runs `work` with an index.
    pub fn work(&self, work: impl FnOnce(usize)) {
        let index = self.0.take(0);
        work(index);
        self.0.give_back(index);
    }

    /// Waits in the middle of work with this index: until `wait` returns.
    pub fn wait(&self, index: usize, wait: impl FnOnce()) {
        let depth = self.0.lend(index);
        wait();
        self.0.take_back(index, depth);
    }
}

/// From now on the indices have this fault.
pub fn break_indices(injected: Fault) {
    fault::INJECTED.store(injected as usize, SeqCst);
}

/// A scope's queue, and an injector that holds its tickets.
pub struct Tasks {
    queue: ScopeQueue<usize>,
    injector: Mutex<Vec<Ticket<usize>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            queue: ScopeQueue::new(),
            injector: Mutex::new(Vec::new()),
        }
    }
}

impl Tasks {
    pub fn push(&self, task: usize) {
        let inject = |ticket| self.injector.lock().push(ticket);
        self.queue.push(task, |_| false, inject);
    }

    /// For the thread that waits for the scope.
    pub fn take_newest(&self) -> Option<usize> {
        self.queue.take_newest()
    }

    /// For a worker: `None` if there is no ticket; `Some(None)` if there is no task for it.
    pub fn take_ticket(&self) -> Option<Option<usize>> {
        let ticket = self.injector.lock().pop()?;
        Some(ticket.take_oldest())
    }
}

/// From now on a ticket is used before it is counted.
pub fn break_tickets() {
    scope_queue::fault::TWO_STEPS.store(true, SeqCst);
}
