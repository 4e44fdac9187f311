//! Which pool this thread works for, right now and at home.
//!
//! **Job.** The functions without a pool argument (`trefoil::join`) and the
//! fast way into a pool that this thread is already in need the [`Worker`] of
//! this thread. It lives on the thread's stack, so a thread-local holds a plain
//! pointer to it, which costs one load.
//!
//! Two pointers: *current* is the innermost pool that this thread is inside of,
//! as one of its workers or as a helping guest; *home* is the pool whose worker
//! this thread is, which has to be told when the thread blocks, wherever it is.
//!
//! Beside the first lies what a join looks at before anything else: how many joins this thread may run in
//! turn (`pace.rs`), in which pool. It is shut whenever the innermost pool changes.
//!
//! - **P12** Each pointer is null or points to a `Worker` that is alive and
//!   belongs to this thread: the guard that sets it borrows the worker, and
//!   puts the one before back when it is dropped. Guards are neither `Send` nor
//!   forgotten: only this file makes them, in scopes that end.
//!
//! Rejected: `RefCell<Option<Rc<Worker>>>` (a borrow flag and two counts on
//! every join).
//!
//! Tests: `tests/thread/pool.rs` (nested pools, indices).
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use crate::loom::atomic::Ordering;
use crate::loom::per_thread;
use crate::sys::fork;
use crate::task::context;
use crate::thread::worker::Worker;

per_thread! {
    static CURRENT: Cell<*const Worker> = Cell::new(ptr::null());
}

/// How many joins may be run in turn, and the address of the pool that this is about.
struct Window {
    left: Cell<u32>,
    pool: Cell<usize>,
}

per_thread! {
    static WINDOW: Window = Window { left: Cell::new(0), pool: Cell::new(0) };
}

per_thread! {
    static HOME: Cell<*const Worker> = Cell::new(ptr::null());
}

/// Puts the pointer from before back; in a child that was forked inside, null.
struct Restore {
    before: *const Worker,
    generation: u32,
    home: bool,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let place = if self.home { &HOME } else { &CURRENT };
        let before = if self.generation == fork::generation() {
            self.before
        } else {
            ptr::null()
        };
        let _ = place.try_with(|cell| cell.set(before));
        if !self.home {
            // SAFETY: P12: null, or alive: whoever set it is further down on this thread's stack.
            moved_to(unsafe { before.as_ref() });
        }
    }
}

/// The innermost pool is that of `worker` now.
fn moved_to(worker: Option<&Worker>) {
    let _ = WINDOW.try_with(|window| {
        window.left.set(0);
        window
            .pool
            .set(worker.map_or(0, |worker| worker.registry().address()));
    });
    let home = HOME.try_with(Cell::get).unwrap_or(ptr::null());
    context::set_away(worker.is_some_and(|worker| !ptr::eq(worker, home)));
}

/// One more join of whatever pool this thread is inside of may be run in turn.
#[inline(always)]
pub(in crate::thread) fn step() -> bool {
    WINDOW.try_with(step_in).unwrap_or(false)
}

/// The same if that is the pool at `address`.
#[inline(always)]
pub(in crate::thread) fn step_of(address: usize) -> bool {
    WINDOW
        .try_with(|window| window.pool.get() == address && step_in(window))
        .unwrap_or(false)
}

#[inline(always)]
fn step_in(window: &Window) -> bool {
    let left = window.left.get();
    if left == 0 {
        return false;
    }
    window.left.set(left - 1);
    true
}

/// None may be run in turn from now on. How many might have been.
#[inline]
pub(in crate::thread) fn shut_window() -> u32 {
    WINDOW
        .try_with(|window| window.left.replace(0))
        .unwrap_or(0)
}

/// So many joins may be run in turn from now on.
#[inline]
pub(in crate::thread) fn open_window(joins: u32) {
    let _ = WINDOW.try_with(|window| window.left.set(joins));
}

/// In a forked child, no thread works for a pool of its parent's any more: what this
/// thread does from then on is not for the frames below, whose pool's threads are not there.
pub(in crate::thread) fn watch() {
    #[allow(clippy::disallowed_types)]
    // Who comes second may go on before the first is through: no protocol.
    static WATCHED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if cfg!(not(loom)) && !WATCHED.swap(true, Ordering::Relaxed) {
        fork::in_child(forget);
    }
}

/// Touches this thread's own words only, which need no destructor.
extern "C" fn forget() {
    let _ = CURRENT.try_with(|cell| cell.set(ptr::null()));
    let _ = HOME.try_with(|cell| cell.set(ptr::null()));
    moved_to(None);
}

/// Runs `f` with `worker` as this thread's innermost pool.
#[inline]
pub(in crate::thread) fn inside<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let before = CURRENT.with(|cell| cell.replace(worker));
    moved_to(Some(worker));
    let _restore = Restore {
        before,
        generation: fork::generation(),
        home: false,
    };
    f()
}

/// Runs `f` with `worker` as this thread's home and innermost pool.
pub(in crate::thread) fn at_home<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let before = HOME.with(|cell| cell.replace(worker));
    let _restore = Restore {
        before,
        generation: fork::generation(),
        home: true,
    };
    inside(worker, f)
}

/// The innermost pool that this thread is inside of.
#[inline]
pub(in crate::thread) fn with<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    let worker = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: P12: null, or alive as long as the guard that set it, which is
    // below `f` on this thread's stack.
    f(unsafe { worker.as_ref() })
}

/// The pool whose worker this thread is.
#[inline]
pub(in crate::thread) fn with_home<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    let worker = HOME.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: P12: null, or alive as long as the guard of `at_home` that set it, which is below `f` on this thread's stack.
    f(unsafe { worker.as_ref() })
}
