//! The tasks that this thread's code waits for, for the loop that polls it.
//!
//! Code that leaves a waker with a task records that here: the last one for those who keep track of
//! tasks, who read it when the poll ends, and all of them if the loop has a virtual clock, which
//! must wait for work elsewhere.
//!
//! Cost: a load for each wait, unless the clock is virtual.
//!
//! Tests: `tests/tasks/tree.rs`, `tests/event_loop/virtual_time.rs`.

use std::cell::{Cell, RefCell};

use super::raw::TaskRef;
use crate::events;
use crate::loom::per_thread;
use crate::timer;

per_thread! {
    /// The id of the task that was awaited last; 0: none.
    static LAST: Cell<u64> = Cell::new(0);
}

per_thread! {
    static ALL: RefCell<Vec<TaskRef>> = RefCell::new(Vec::new());
}

/// Notes that a waker was left with `task`.
#[inline]
pub(super) fn note(task: &TaskRef) {
    if events::is_on() {
        let _ = LAST.try_with(|last| last.set(task.id().get()));
    }
    if timer::is_virtual() {
        keep(task);
    }
}

#[cold]
fn keep(task: &TaskRef) {
    let _ = ALL.try_with(|all| all.borrow_mut().push(task.clone()));
}

/// The id of the last task awaited since the last call; 0: none.
#[inline]
pub(crate) fn take_last() -> u64 {
    LAST.try_with(|last| last.replace(0)).unwrap_or(0)
}

/// The id of the last task awaited; 0: none.
pub(crate) fn last() -> u64 {
    LAST.try_with(Cell::get).unwrap_or(0)
}

/// The tasks awaited since the last call, on a thread with a virtual clock.
pub(crate) fn take_all() -> Vec<TaskRef> {
    ALL.try_with(|all| std::mem::take(&mut *all.borrow_mut()))
        .unwrap_or_default()
}
