//! What runs on this thread, as an opaque mark.
//!
//! The stem marks the task whose code this thread runs; below the stem nobody may know what
//! the mark means, only whether it is the same one. Null: no task.

use std::cell::Cell;
use std::ptr;

use crate::loom::per_thread;

per_thread! {
    static CURRENT: Cell<*const ()> = Cell::new(ptr::null());
}

/// The mark of what runs here.
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
