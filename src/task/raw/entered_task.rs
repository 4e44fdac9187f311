//! Which task runs on this thread, and which future this thread polls.
//!
//! The mark of the running task (`parking/marker.rs`) is the address of its cell, which begins with
//! its [`Birth`]. The thread that runs a task's code holds an [`EnteredTask`]. Dropping it puts the
//! earlier mark back, also while unwinding, because a waiter may run one task in the middle of
//! another. A second mark says which future is *polled* here. It is never lent to another thread,
//! so code that finds it is on the thread that polls.
//!
//! - **T15** The pointer is null, or it points to a cell that is kept alive (T6): by what entered
//!   it to run or drop its work, until it leaves, or by a task that waits for this thread
//!   ([`inherit`]). Only this thread reads it, and no code keeps it.
//!
//! Tests: `tests/task/handle.rs`, models, Miri.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::panic::Location;

use crate::loom::per_thread;
use crate::parking::marker;
use crate::task::id::TaskId;

/// What a task knows from its birth on, at the beginning of its cell.
#[derive(Clone, Copy)]
pub(in crate::task) struct Birth {
    pub(in crate::task) id: TaskId,
    /// Where the task was spawned.
    pub(in crate::task) site: &'static Location<'static>,
}

impl Birth {
    /// The birth of a new task.
    #[inline]
    pub(in crate::task) fn at(site: &'static Location<'static>) -> Self {
        Self {
            id: TaskId::next(),
            site,
        }
    }
}

/// The id of the task that runs here.
#[inline]
pub(in crate::task) fn id() -> Option<TaskId> {
    let current = marker::current().cast::<Birth>();
    // SAFETY: T15: null, or a cell, which lives for the length of this call at least; it begins
    // with a `Birth`, which never changes.
    unsafe { current.as_ref() }.map(|birth| birth.id)
}

/// Marks a task as the one that runs here. Dropping it restores the earlier mark.
#[must_use]
pub(crate) struct EnteredTask {
    before: *const (),
}

/// Enters the task whose cell is at `mark`.
///
/// # Safety
/// T15: the cell lives until the guard that this returns has been dropped. Guards are dropped, not
/// forgotten, in the reverse order of their making.
#[inline]
pub(super) unsafe fn enter(mark: *const ()) -> EnteredTask {
    EnteredTask {
        before: marker::replace(mark),
    }
}

impl Drop for EnteredTask {
    #[inline]
    fn drop(&mut self) {
        marker::replace(self.before);
    }
}

per_thread! {
    /// The address of the header of the future that this thread polls, if its executor queues it
    /// again itself when it has woken itself. The address is only compared, never followed. The
    /// lowest bit is set when the future has woken itself.
    static POLLED: Cell<usize> = Cell::new(0);
}

const WOKEN: usize = 1;
const _: () = assert!(align_of::<Birth>() > WOKEN);

/// Notes that the task at this address is polled now. If it wakes itself by reference, that is only
/// noted here (T16). Returns the previous address, to be restored after the poll, which does not
/// unwind.
#[inline]
pub(super) fn replace_polled(task: usize) -> usize {
    POLLED.try_with(|now| now.replace(task)).unwrap_or(0)
}

/// Whether the task that was polled has woken itself.
#[inline]
pub(super) fn has_woken(polled: usize) -> bool {
    polled & WOKEN != 0
}

/// Called when the task at this address is woken. Returns true if it wakes itself, and the thread
/// that runs it will queue it.
#[inline]
pub(super) fn wakes_itself(task: *const ()) -> bool {
    POLLED
        .try_with(|polled| {
            let itself = polled.get() & !WOKEN == task.addr();
            if itself {
                polled.set(task.addr() | WOKEN);
            }
            itself
        })
        .unwrap_or(false)
}

/// The task that runs on a thread, lent to another thread that does part of its work.
#[derive(Clone, Copy)]
pub(crate) struct Inherited(*const ());

// SAFETY: T15: it is only a mark, which is not followed; `inherit` states under which conditions it
// is.
unsafe impl Send for Inherited {}
// SAFETY: T15: as above; `&Inherited` gives only a copy of the mark.
unsafe impl Sync for Inherited {}

impl Inherited {
    /// The task that runs on this thread.
    #[inline]
    pub(crate) fn current() -> Self {
        Self(marker::current())
    }
}

/// Marks the task that `inherited` came from as the one that runs here, too, until the guard is
/// dropped, so that this part of its work sees its token.
///
/// # Safety
/// T15: the code that made `inherited` waits, inside that task, until the guard has been dropped.
/// Guards are dropped, not forgotten, in the reverse order of their making.
#[inline]
pub(crate) unsafe fn inherit(inherited: Inherited) -> EnteredTask {
    // SAFETY: T15: the caller's promise.
    unsafe { enter(inherited.0) }
}
