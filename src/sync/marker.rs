//! Opaque markers of the task and the loop that run on this thread.
//!
//! `task` sets the marker of the task whose code this thread runs, and an event loop sets its own.
//! Lower modules must not know what a marker means, only whether two are equal. Null means no task,
//! or no loop. A task's marker is also the data of its waker, and a loop's is that of its root
//! future's waker.

use std::cell::Cell;
use std::ptr;

use crate::loom::per_thread;

per_thread! {
    static CURRENT: Cell<*const ()> = Cell::new(ptr::null());
}

per_thread! {
    static LOOP: Cell<*const ()> = Cell::new(ptr::null());
}

/// The marker of the loop that runs here.
#[inline]
pub(crate) fn current_loop() -> *const () {
    LOOP.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Sets it; returns the previous one.
#[inline]
pub(crate) fn replace_loop(mark: *const ()) -> *const () {
    LOOP.try_with(|current| current.replace(mark))
        .unwrap_or(ptr::null())
}

/// The marker of the task that runs here.
#[inline]
pub(crate) fn current() -> *const () {
    CURRENT.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Sets it; returns the previous one.
#[inline]
pub(crate) fn replace(mark: *const ()) -> *const () {
    CURRENT
        .try_with(|current| current.replace(mark))
        .unwrap_or(ptr::null())
}
