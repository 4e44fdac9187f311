//! The index that a thread's tasks see; `registry/indices.rs` says which threads may share one.
//!
//! Tests: `tests/thread/indices.rs`.

use std::cell::Cell;

use super::Worker;
use crate::thread::engine::registry::indices::Indices;

/// The thread's index, while it runs something.
#[derive(Default)]
pub(super) struct IndexCell(Cell<Option<usize>>);

impl Worker {
    /// The pool's indices. None in a forked child: no other thread needs one there, and their lock
    /// may be held for ever.
    fn indices(&self) -> Option<&Indices> {
        (!self.registry.is_foreign()).then_some(&self.registry.indices)
    }

    /// The index that this thread's tasks see, which is below the width.
    pub(in crate::thread) fn index(&self) -> usize {
        let width = self.registry.sleep.width();
        self.index.0.get().unwrap_or(self.place()) % width
    }

    /// Takes an index, or another one if the present one may be shared or is not below the width.
    /// Called before this thread runs something.
    #[inline]
    pub(in crate::thread) fn take_index(&self) {
        let registry = &self.registry;
        let width = registry.sleep.width();
        let is_good = |index| index < width && !registry.indices.are_shared();
        if !self.index.0.get().is_some_and(is_good)
            && let Some(indices) = self.indices()
        {
            self.leave_index();
            self.index.0.set(Some(indices.assign(self.place(), width)));
        }
    }

    /// Gives the index back. Called when this thread stops running work.
    pub(in crate::thread) fn leave_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.0.take(), self.indices()) {
            indices.give_back(index);
        }
    }

    /// Lets other threads use the index. Called before this thread parks in a wait.
    pub(in crate::thread) fn lend_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.0.get(), self.indices()) {
            indices.give_back(index);
        }
    }

    /// Takes the index from before the wait again, even if another thread has it now.
    pub(in crate::thread) fn resume_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.0.get(), self.indices()) {
            indices.assign_again(index);
        }
    }

    /// Calls `f`, which does not unwind, with this index instead.
    pub(in crate::thread) fn with_index(&self, index: usize, f: impl FnOnce()) {
        if let Some(indices) = self.indices() {
            indices.assign_again(index);
        }
        let before = self.index.0.replace(Some(index));
        f();
        self.leave_index();
        self.index.0.set(before);
    }
}
