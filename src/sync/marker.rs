//! What runs on this thread, as opaque marks.
//!
//! The stem marks the task whose code this thread runs, an event loop that it runs here; below these no module may know
//! what a mark means, only whether it is the same one. Null: no task, no loop. A task's mark is also the data of its
//! waker, and a loop's that of its root future's.

use std::cell::Cell;
use std::ptr;

use crate::loom::per_thread;

per_thread! {
    static CURRENT: Cell<*const ()> = Cell::new(ptr::null());
}

per_thread! {
    static LOOP: Cell<*const ()> = Cell::new(ptr::null());
}

/// The mark of the loop that runs here.
#[inline]
pub(crate) fn current_loop() -> *const () {
    LOOP.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Sets that mark; the one before.
#[inline]
pub(crate) fn replace_loop(mark: *const ()) -> *const () {
    LOOP.try_with(|current| current.replace(mark))
        .unwrap_or(ptr::null())
}

/// The mark of the task that runs here.
#[inline]
pub(crate) fn current() -> *const () {
    CURRENT.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Sets the mark; the one before.
#[inline]
pub(crate) fn replace(mark: *const ()) -> *const () {
    CURRENT
        .try_with(|current| current.replace(mark))
        .unwrap_or(ptr::null())
}
