//! The tasks of scopes in a worker's deque, and the mark below which they are not its own.
//!
//! While a scope is open on a thread, only its tasks are put into that thread's deque: above the
//! *mark*, which is the deque's length before. So a thread that waits for its scope finds only the
//! scope's tasks there. A worker without an open scope pushes and takes any. Finished tasks are
//! subtracted from their scope's count when something else is run next, so that a worker which runs
//! many tasks of one scope does not write to the count each time.
//!
//! Tests: `tests/thread/pool.rs::{the_end_of_a_scope_runs_no_task_of_an_outer_one,
//! a_tree_of_a_scopes_tasks_needs_as_much_room_as_it_is_deep}`.

use std::cell::Cell;

use super::Worker;
use crate::loom::atomic::Ordering;
use crate::thread::engine::lent::raw_scope_counter::ErasedEntry;
use crate::thread::engine::sleep::Afterwards;
use crate::thread::engine::slot::NO_PLACE;

/// Stale entries are dropped after this many scope tasks were run by their handles' threads.
const SWEEP: u32 = 64;

/// The address in `open` while no scope is open on this thread: it runs tasks of any.
const ANY_SCOPE: usize = 0;
/// The address in `open` if this thread runs no tasks of scopes: an outside thread that does
/// not help, or one without an open scope.
const NO_SCOPE: usize = 1;

/// What a worker knows of its deque of scopes' tasks.
pub(super) struct ScopeMark {
    /// Whose tasks this thread takes from there: the address of the innermost scope that is open on
    /// it, or [`ANY_SCOPE`], or [`NO_SCOPE`]; and the mark, the `depth` above which they lie.
    open: Cell<(usize, usize)>,
    /// How many tasks of scopes this thread has pushed to its deque and not popped. Thieves do not
    /// subtract theirs, so it is an upper bound.
    depth: Cell<usize>,
    /// The address of the scope's task that this thread pushed last.
    newest: Cell<usize>,
    /// How many entries of the deque have become stale since the last sweep, because the thread
    /// that joins the handle has run the task.
    stale: Cell<u32>,
}

impl ScopeMark {
    /// For a worker in this place.
    pub(super) fn new(place: usize) -> Self {
        let takes = if place == NO_PLACE {
            NO_SCOPE
        } else {
            ANY_SCOPE
        };
        Self {
            open: Cell::new((takes, 0)),
            depth: Cell::new(0),
            newest: Cell::new(0),
            stale: Cell::new(0),
        }
    }
}

impl Worker {
    /// Opens the scope at this address on this thread, and sets its mark, the `depth` at this
    /// moment. Returns what [`leave_scope`](Self::leave_scope) puts back.
    pub(in crate::thread) fn enter_scope(&self, address: usize) -> (usize, usize) {
        let address = if self.may_run() { address } else { NO_SCOPE };
        self.scopes.open.replace((address, self.scopes.depth.get()))
    }

    /// The scope that was opened last on this thread has ended.
    pub(in crate::thread) fn leave_scope(&self, before: (usize, usize)) {
        self.scopes.open.set(before);
    }

    /// Whether tasks of the scope at this address may be pushed to this worker's deque.
    pub(in crate::thread) fn takes_scope(&self, address: usize) -> bool {
        let open = self.scopes.open.get().0;
        open == address || open == ANY_SCOPE
    }

    pub(in crate::thread) fn push_scoped(&self, lent: ErasedEntry) {
        self.scopes.newest.set(lent.address());
        self.scopes.depth.set(self.scopes.depth.get() + 1);
        self.slot().scope.store(lent.counter(), Ordering::Relaxed);
        self.owned.local.scoped.push(lent);
        self.registry.published_and(Afterwards::Computes);
    }

    /// A theft has moved tasks behind this one into this thread's deque, which has no open scope.
    pub(super) fn moved_scoped(&self, first: &ErasedEntry) {
        self.scopes.depth.set(self.owned.local.scoped.len());
        self.slot().scope.store(first.counter(), Ordering::Relaxed);
    }

    /// The newest task above the mark: of the innermost scope that is open here, or of any scope if
    /// none is.
    pub(in crate::thread) fn pop_scoped(&self) -> Option<ErasedEntry> {
        // Thieves take the oldest task. So if one below the mark is still there, all tasks above it
        // are, too.
        let ((_, mark), depth) = (self.scopes.open.get(), self.scopes.depth.get());
        if depth <= mark {
            return None;
        }
        let Some(lent) = self.owned.local.scoped.pop() else {
            self.scopes.depth.set(mark);
            return None;
        };
        self.scopes.depth.set(depth - 1);
        Some(lent)
    }

    /// Whether tasks may be left that this thread has pushed, or moved to its deque.
    #[inline]
    pub(super) fn has_scoped(&self) -> bool {
        self.scopes.depth.get() > 0
    }

    /// The newest such task, if it is the one at this address. Drops older ones that their handles'
    /// threads have run.
    pub(in crate::thread) fn take_scoped(&self, address: usize) -> Option<ErasedEntry> {
        if self.scopes.newest.get() != address {
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
        self.scopes.stale.set(self.scopes.stale.get() + 1);
        if self.scopes.stale.get() == SWEEP {
            self.scopes.stale.set(0);
            let (mut stale, mut live) = (Vec::new(), Vec::new());
            for _ in 0..SWEEP * 2 {
                match self.pop_scoped() {
                    Some(lent) if lent.is_taken() => stale.push(lent),
                    Some(lent) => live.push(lent),
                    None => break,
                }
            }
            while let Some(lent) = live.pop() {
                self.push_scoped(lent);
            }
            // Last, because the destructor of a task's result may wait for another task.
            drop(stale);
        }
    }
}
