//! The current pool and the home pool of a thread.
//!
//! **Job.** The functions without a pool argument (`trefoil::join`), and the fast way into a pool
//! that this thread is already in, need the [`Worker`] of this thread. It lives on the thread's
//! stack, so a thread-local holds a plain pointer to it, which costs one load.
//!
//! There are two pointers. *Current* is the innermost pool that this thread is inside of, as one of
//! its workers or as an outside thread that helps. *Home* is the pool whose worker this thread is;
//! that pool must learn when the thread blocks, whichever pool is current.
//!
//! - **P12** Each pointer is null or points to a `Worker` that is alive and belongs to this thread:
//!   the guard that sets it borrows the worker, and puts the one before back when it is dropped.
//!   Guards are neither `Send` nor forgotten: only this file makes them, in scopes that end.
//!
//! Rejected: `RefCell<Option<Rc<Worker>>>` (a borrow flag and two counts on every join).
//!
//! Tests: `tests/thread/pool.rs::{nested_pools_wait_for_each_other,
//! the_global_pool_is_one_and_serves_the_free_functions}`, `tests/thread/current_pool.rs`.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use super::worker::join_window;
use crate::loom::atomic::Ordering;
use crate::loom::per_thread;
use crate::sys::fork;
use crate::task::context;
use crate::thread::engine::worker::Worker;

/// The current pool and the home pool.
#[derive(Clone, Copy)]
struct Pools {
    current: *const Worker,
    home: *const Worker,
}

impl Pools {
    const NONE: Self = Self {
        current: ptr::null(),
        home: ptr::null(),
    };
}

per_thread! {
    static POOLS: Cell<Pools> = Cell::new(Pools::NONE);
}

fn pools() -> Pools {
    POOLS.try_with(Cell::get).unwrap_or(Pools::NONE)
}

/// Restores the previous pointers; in a child that was forked meanwhile, null.
struct RestorePools {
    before: Pools,
    generation: u32,
}

impl Drop for RestorePools {
    fn drop(&mut self) {
        let here = self.generation == fork::generation();
        let before = if here { self.before } else { Pools::NONE };
        // SAFETY: P12: null, or alive: the guard that set it is further down on this thread's
        // stack.
        set(before, unsafe { before.current.as_ref() });
    }
}

/// Sets both pointers; `current` is the worker behind `pools.current`.
fn set(pools: Pools, current: Option<&Worker>) {
    let _ = POOLS.try_with(|cell| cell.set(pools));
    join_window::move_to(current.map_or(0, |worker| worker.registry().address()));
    context::set_away(!pools.current.is_null() && !ptr::eq(pools.current, pools.home));
}

/// In a forked child, no thread works for a pool of its parent any more: later calls of this thread
/// must not use the frames below, whose pool's threads do not exist.
pub(in crate::thread) fn register_fork_handler() {
    #[allow(clippy::disallowed_types)]
    // A second caller may continue before the first has finished: no protocol.
    static REGISTERED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if cfg!(not(loom)) && !REGISTERED.swap(true, Ordering::Relaxed) {
        fork::in_child(forget);
    }
}

/// Runs in a forked child. It touches only this thread's own words, which need no destructor.
extern "C" fn forget() {
    set(Pools::NONE, None);
}

fn enter<R>(pools: Pools, worker: &Worker, f: impl FnOnce() -> R) -> R {
    let _restore = RestorePools {
        before: self::pools(),
        generation: fork::generation(),
    };
    set(pools, Some(worker));
    f()
}

/// Runs `f` with `worker` as this thread's innermost pool.
#[inline]
pub(in crate::thread) fn inside<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let home = pools().home;
    let current = ptr::from_ref(worker);
    enter(Pools { current, home }, worker, f)
}

/// Runs `f` with `worker` as this thread's home and innermost pool.
pub(in crate::thread) fn at_home<R>(worker: &Worker, f: impl FnOnce() -> R) -> R {
    let (current, home) = (ptr::from_ref(worker), ptr::from_ref(worker));
    enter(Pools { current, home }, worker, f)
}

/// The innermost pool that this thread is inside of.
#[inline]
pub(in crate::thread) fn with<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // SAFETY: P12: null, or alive as long as the guard that set it, which is below `f` on this
    // thread's stack.
    f(unsafe { pools().current.as_ref() })
}

/// The pool whose worker this thread is.
#[inline]
pub(in crate::thread) fn with_home<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // SAFETY: P12: null, or alive as long as the guard of `at_home` that set it, which is below `f`
    // on this thread's stack.
    f(unsafe { pools().home.as_ref() })
}

/// The pool whose worker this thread is, if that is also the innermost one that it is inside of.
#[inline]
pub(in crate::thread) fn with_innermost_home<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    let Pools { current, home } = pools();
    if ptr::eq(current, home) {
        with_home(f)
    } else {
        f(None)
    }
}
