//! The index that a thread's tasks see; `registry/indices.rs` says which threads may share one,
//! `registry/exclusive_indices.rs` how it is in pools where none may.
//!
//! Tests: `tests/thread/indices.rs`, `crates/rayon-core/tests/indices.rs`.

use std::cell::Cell;

use super::Worker;
use crate::parking::park;
use crate::thread::engine::registry::exclusive_indices::{Depth, ExclusiveIndices};
use crate::thread::engine::registry::indices::Indices;

/// The thread's index, while it runs something.
#[derive(Default)]
pub(super) struct IndexCell {
    index: Cell<Option<usize>>,
    /// While an exclusive index is lent: where among those that have lent it.
    lent: Cell<Option<Depth>>,
}

impl Worker {
    /// The pool's indices. None in a forked child: no other thread needs one there, and their lock
    /// may be held for ever.
    fn indices(&self) -> Option<&Indices> {
        (!self.registry.is_foreign()).then_some(&self.registry.indices)
    }

    /// The same of a pool whose indices are exclusive.
    fn exclusive(&self) -> Option<&ExclusiveIndices> {
        let exclusive = self.registry.exclusive.as_ref()?;
        (!self.registry.is_foreign()).then_some(exclusive)
    }

    /// The index that this thread's tasks see, which is below the width.
    pub(in crate::thread) fn index(&self) -> usize {
        let width = self.registry.sleep.width();
        self.index.index.get().unwrap_or(self.place()) % width
    }

    /// Called before this thread looks for work: takes an exclusive index, or another one if the
    /// thread that has lent the present one is back.
    #[inline]
    pub(in crate::thread) fn take_exclusive_index(&self) {
        if let Some(exclusive) = self.exclusive() {
            let index = self.index.index.get();
            if index.is_none_or(|index| exclusive.is_awaited(index)) {
                self.leave_index();
                self.index.index.set(Some(exclusive.take(self.place())));
            }
        }
    }

    /// Takes an index, or another one if the present one may be shared or is not below the width.
    /// Called before this thread runs something.
    #[inline]
    pub(in crate::thread) fn take_index(&self) {
        if self.registry.exclusive.is_some() {
            return; // it has one
        }
        let registry = &self.registry;
        let width = registry.sleep.width();
        let is_good = |index| index < width && !registry.indices.are_shared();
        if !self.index.index.get().is_some_and(is_good)
            && let Some(indices) = self.indices()
        {
            self.leave_index();
            self.index
                .index
                .set(Some(indices.assign(self.place(), width)));
        }
    }

    /// Gives the index back. Called when this thread stops running work.
    pub(in crate::thread) fn leave_index(&self) {
        let Some(index) = self.index.index.take() else {
            return;
        };
        if let Some(exclusive) = self.exclusive() {
            exclusive.give_back(index);
        } else if let Some(indices) = self.indices() {
            indices.give_back(index);
        }
    }

    /// Lets other threads use the index. Called before this thread parks in a wait; `runs_others`:
    /// in one during which other work of the pool would run on rayon.
    pub(in crate::thread) fn lend_index(&self, runs_others: bool) {
        let Some(index) = self.index.index.get() else {
            return;
        };
        if let Some(exclusive) = self.exclusive() {
            if runs_others {
                self.index.lent.set(Some(exclusive.lend(index)));
            }
        } else if let Some(indices) = self.indices() {
            indices.give_back(index);
        }
    }

    /// Called when such a wait is over, and while this thread still counts as blocked: an exclusive
    /// index may be in use.
    pub(in crate::thread) fn take_back_index(&self) {
        if let (Some(index), Some(depth)) = (self.index.index.get(), self.index.lent.take())
            && let Some(exclusive) = self.exclusive()
        {
            exclusive.take_back(index, depth);
        }
    }

    /// Takes the index from before the wait again, even if another thread has it now.
    pub(in crate::thread) fn resume_index(&self) {
        if let (Some(index), Some(indices)) = (self.index.index.get(), self.indices())
            && self.registry.exclusive.is_none()
        {
            indices.assign_again(index);
        }
    }

    /// Calls `f`, which does not unwind, with this index instead.
    pub(in crate::thread) fn with_index(&self, index: usize, f: impl FnOnce()) {
        if let Some(exclusive) = self.exclusive() {
            return self.with_exclusive_index(exclusive, index, f);
        }
        if let Some(indices) = self.indices() {
            indices.assign_again(index);
        }
        let before = self.index.index.replace(Some(index));
        f();
        self.leave_index();
        self.index.index.set(before);
    }

    /// The same. Unless this thread has that index already, it has not begun its work yet.
    fn with_exclusive_index(&self, exclusive: &ExclusiveIndices, index: usize, f: impl FnOnce()) {
        if self.index.index.get() != Some(index) {
            self.leave_index();
            // A thread counts as blocked only if it has to wait: others take the shares of
            // broadcasts that a blocked thread has.
            if !exclusive.try_take_this(index) {
                park::blocked(|| exclusive.take_this(index));
            }
            self.index.index.set(Some(index));
        }
        f();
    }
}
