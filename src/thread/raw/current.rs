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
//! - **P12** Each pointer is null or points to a `Worker` that is alive and
//!   belongs to this thread: the guard that sets it borrows the worker, and
//!   puts the one before back when it is dropped. Guards are neither `Send` nor
//!   forgotten: only this file makes them, in scopes that end.
//!
//! Rejected: `RefCell<Option<Rc<Worker>>>` (a borrow flag and two counts on
//! every join).
//!
//! Tests: `tests/thread.rs` (nested pools, indices).
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use crate::loom::per_thread;
use crate::thread::worker::Worker;

per_thread! {
    static CURRENT: Cell<*const Worker> = Cell::new(ptr::null());
}

per_thread! {
    static HOME: Cell<*const Worker> = Cell::new(ptr::null());
}

/// Puts the pointer from before back.
struct Restore {
    before: *const Worker,
    home: bool,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let place = if self.home { &HOME } else { &CURRENT };
        let _ = place.try_with(|cell| cell.set(self.before));
    }
}

/// Runs `f` with `worker` as this thread's innermost pool.
#[inline]
pub(in crate::thread) fn inside<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let before = CURRENT.with(|cell| cell.replace(worker));
    let _restore = Restore {
        before,
        home: false,
    };
    f()
}

/// Runs `f` with `worker` as this thread's home and innermost pool.
pub(in crate::thread) fn at_home<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let before = HOME.with(|cell| cell.replace(worker));
    let _restore = Restore { before, home: true };
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
    // SAFETY: P12: as above.
    f(unsafe { worker.as_ref() })
}
