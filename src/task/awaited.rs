//! For which tasks the code of this thread waits: told to the loop that polls it.
//!
//! Code that leaves a waker with a task says so here. A loop asks after each poll: for the
//! last one, to be shown in its snapshot, and, if its clock must not run away from work that
//! goes on elsewhere, for all of them.
//!
//! Cost: a store for each wait, where not all of them are asked for.
//!
//! Checked by `tests/event_loop/{snapshot,virtual_time}.rs`.

use std::cell::{Cell, RefCell};

use super::raw::TaskRef;
use crate::loom::per_thread;

per_thread! {
    /// The id of the last one, 0 for none; and whether all are kept.
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

/// The id of the last task that was waited for since the last call; 0: none.
#[inline]
pub(crate) fn take_last() -> u64 {
    LAST.try_with(|(last, _)| last.replace(0)).unwrap_or(0)
}

/// From now on all are kept, or none any longer; what was so before.
pub(crate) fn keep_all(on: bool) -> bool {
    LAST.try_with(|(_, keeps_all)| keeps_all.replace(on))
        .unwrap_or(false)
}

/// Those that were waited for since the last call, if they are kept.
pub(crate) fn take_all() -> Vec<TaskRef> {
    ALL.try_with(|all| std::mem::take(&mut *all.borrow_mut()))
        .unwrap_or_default()
}
