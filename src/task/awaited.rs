//! The tasks that this thread's code waits for, for the loop that polls it.
//!
//! Code that leaves a waker with a task records that here. A loop reads it after each poll: the
//! last one, for its snapshot, and, if its virtual clock must wait for work elsewhere, all of them.
//!
//! Cost: a store for each wait, if not all of them are recorded.
//!
//! Checked by `tests/event_loop/{snapshot,virtual_time}.rs`.

use std::cell::{Cell, RefCell};

use super::raw::TaskRef;
use crate::loom::per_thread;

per_thread! {
    /// The id of the last one, 0 for none; and whether all are recorded.
    static LAST: (Cell<u64>, Cell<bool>) = (Cell::new(0), Cell::new(false));
}

per_thread! {
    static ALL: RefCell<Vec<TaskRef>> = RefCell::new(Vec::new());
}

/// A waker was left with `task`.
#[inline]
pub(super) fn note(task: &TaskRef) {
    let _ = LAST.try_with(|(last, keeps_all)| {
        last.set(task.id().get());
        if keeps_all.get() {
            keep(task);
        }
    });
}

#[cold]
fn keep(task: &TaskRef) {
    let _ = ALL.try_with(|all| all.borrow_mut().push(task.clone()));
}

/// The id of the last task awaited since the last call; 0: none.
#[inline]
pub(crate) fn take_last() -> u64 {
    LAST.try_with(|(last, _)| last.replace(0)).unwrap_or(0)
}

/// Sets whether all are recorded; returns the previous setting.
pub(crate) fn keep_all(on: bool) -> bool {
    LAST.try_with(|(_, keeps_all)| keeps_all.replace(on))
        .unwrap_or(false)
}

/// The tasks awaited since the last call, if they are recorded.
pub(crate) fn take_all() -> Vec<TaskRef> {
    ALL.try_with(|all| std::mem::take(&mut *all.borrow_mut()))
        .unwrap_or_default()
}
