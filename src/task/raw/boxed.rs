//! Tasks with large outputs: the cell stores a box, and the handle's type says what is in it.
//!
//! An output is moved through some functions, each of which may copy it to its own frame. So the
//! cell of a task with a large output (`large.rs`) is that of a `Box<T>`. Here a handle
//! changes its type; a completer does so in `promise.rs`.
//!
//! - **T30** If `T` is large, a `Task<T>` or a `Completer<T>` has a cell whose output is a
//!   `Box<T>`; otherwise it is a `T`.
//!
//! Tests: `tests/large_values.rs`; Miri: `tests/interpreted.rs::{large_results_are_dropped_once,
//! large_results_of_futures_are_dropped_once, a_pool_drops_large_results_once}`.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;

use super::Task;
use crate::large::is_large;

impl<T> Task<Box<T>> {
    /// The handle of a task with a large output, from that of its box.
    pub(crate) fn unboxed(self) -> Task<T> {
        debug_assert!(is_large::<T>());
        let task = ManuallyDrop::new(self);
        // SAFETY: T6: `task` is not used or dropped, so its count goes along; T30: `T` is large,
        // and the output of the cell is its box.
        unsafe { Task::from_raw(task.raw()) }
    }
}

impl<T> Task<T> {
    /// The same task as one of a box. `T` must be large.
    pub(in crate::task) fn as_boxed(&mut self) -> &mut Task<Box<T>> {
        debug_assert!(is_large::<T>());
        // SAFETY: `Task` is transparent, so both have the same layout; T30: `T` is large, and the
        // output of the cell is its box.
        unsafe { &mut *std::ptr::from_mut(self).cast() }
    }
}
