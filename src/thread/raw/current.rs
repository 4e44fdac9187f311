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

use crate::loom::atomic::Ordering;
use crate::loom::per_thread;
use crate::sys::fork;
use crate::thread::worker::Worker;

per_thread! {
    static CURRENT: Cell<*const Worker> = Cell::new(ptr::null());
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
    }
}

/// In a forked child, no thread works for a pool of its parent's any more: what this
/// thread does from then on is not for the frames below, whose pool's threads are not there.
pub(in crate::thread) fn watch() {
    // No protocol: who comes second may go on before the first is through.
    #[allow(clippy::disallowed_types)]
    static WATCHED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if cfg!(not(loom)) && !WATCHED.swap(true, Ordering::Relaxed) {
        fork::in_child(forget);
    }
}

/// Touches this thread's two words only, which need no destructor.
extern "C" fn forget() {
    let _ = CURRENT.try_with(|cell| cell.set(ptr::null()));
    let _ = HOME.try_with(|cell| cell.set(ptr::null()));
}

/// Runs `f` with `worker` as this thread's innermost pool.
#[inline]
pub(in crate::thread) fn inside<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let before = CURRENT.with(|cell| cell.replace(worker));
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
    // SAFETY: P12: as above.
    f(unsafe { worker.as_ref() })
}
