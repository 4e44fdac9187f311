//! Which tasks this thread may claim. (`parking/park.rs` knows whether the thread may block, and
//! `Task::wait` applies that to a join.) A waiter runs the awaited work itself only while half of
//! its stack is left.
//!
//! **Claims.** A pool tags its tasks. At its start, a worker sets its pool's tag, and a function
//! that takes back its newest queue entry.
//!
//! Tests: `tests/thread/pool.rs::{ten_thousand_tasks_each_wait_for_the_next,
//! one_worker_joins_tasks_three_deep}`.

use std::cell::Cell;

use super::raw::Runnable;
use crate::loom::per_thread;
use crate::sys::fork::PerProcess;

pub(crate) use crate::parking::park::{RefuseGuard, blocking_refused, refuse_blocking};

pub(crate) use super::id::register_fork_handler;
pub(crate) use super::raw::{Inherited, inherit};

struct ThreadClaims {
    /// The tag of this worker's pool; 0: the thread is not a worker.
    home: Cell<u32>,
    /// Whether the thread is currently inside another pool.
    away: Cell<bool>,
    /// The cell whose entry this thread has queued last and can take back, and the function that
    /// does so.
    newest: Cell<usize>,
    take: Cell<Option<TakeNewest>>,
}

/// Takes the newest entry out of this thread's own queue, if it is the entry of the cell at this
/// address.
pub(crate) type TakeNewest = fn(usize) -> Option<Runnable>;

per_thread! {
    static HERE: ThreadClaims = ThreadClaims {
        home: Cell::new(0),
        away: Cell::new(false),
        newest: Cell::new(0),
        take: Cell::new(None),
    };
}

/// Called by a worker at its start, with its pool's tag: the worker may claim the pool's tasks
/// where others may not. `take` takes entries from the worker's own queue.
pub(crate) fn begin_worker(tag: u32, take: TakeNewest) {
    let _ = HERE.try_with(|here| {
        here.home.set(tag);
        here.take.set(Some(take));
    });
}

/// Sets whether this thread is inside another pool than its home.
#[inline]
pub(crate) fn set_away(away: bool) {
    let _ = HERE.try_with(|here| here.away.set(away));
}

/// Whether this thread is inside another pool than its home.
pub(super) fn is_away() -> bool {
    HERE.try_with(|here| here.away.get()).unwrap_or(false)
}

/// Notes that `entry` is about to be queued in a worker's own queue, as the newest.
#[inline]
pub(crate) fn set_newest(entry: &Runnable) {
    let _ = HERE.try_with(|here| here.newest.set(entry.address()));
}

/// The entry of the cell at `address`, if it is the newest of this thread's own queue: a worker
/// that waits for the task that it has just spawned runs the entry, and leaves no stale one behind.
#[inline]
pub(super) fn take_newest(address: usize) -> Option<Runnable> {
    HERE.try_with(|here| {
        if here.newest.get() != address || here.away.get() {
            return None;
        }
        here.newest.set(0);
        here.take.get()?(address)
    })
    .ok()
    .flatten()
}

/// A bit in the tag of a task that threads of no pool, or of another pool, may claim.
pub(crate) const OUTSIDERS: u32 = 1 << 30;

/// Runs a claimed task inside the pool with this tag, on a thread that is not its worker.
pub(crate) type RunInside = fn(u32, &mut dyn FnMut());

static RUN_INSIDE: PerProcess<RunInside> = PerProcess::new();

/// Sets how to enter a pool.
pub(crate) fn set_run_inside(how: RunInside) {
    RUN_INSIDE.inherit_or_init(|| how);
}

/// Calls `run` inside the pool with this tag.
#[cold]
pub(super) fn run_inside(tag: u32, run: &mut dyn FnMut()) {
    match RUN_INSIDE.inherited() {
        Some(how) => how(tag & !OUTSIDERS, run),
        None => run(),
    }
}

/// The tag of the pool whose worker this thread is, or 0.
pub(crate) fn home() -> u32 {
    HERE.try_with(|here| here.home.get()).unwrap_or(0)
}
