//! The producer's reference, [`Completer`]: it writes the output of a task that no executor runs.
//!
//! Tests: `tests/trefoil-checks/tests/models.rs::{complete_vs_cancel, dropped_completer_vs_join}`,
//! `tests/task/reentrancy.rs::callbacks_that_cancel_join_drop_and_panic`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use super::header::TaskRef;
use super::stored_error::StoredError;
use crate::events;
use crate::events::Ending;
use crate::large::is_large;
use crate::task::error::TaskError;

/// Completes a [`Task`](crate::Task) by hand: the bridge from any callback API.
///
/// Dropping it without completing ends the task in
/// [`TaskError::Closed`]. One allocation makes both halves.
///
/// ```
/// use trefoil::{Completer, Task};
///
/// fn ask(question: &'static str) -> Task<usize> {
///     let (completer, task) = Completer::new();
///     std::thread::spawn(move || completer.complete(Ok(question.len())));
///     task
/// }
/// assert_eq!(ask("how long is this?").join().unwrap(), 17);
/// ```
#[must_use = "a dropped completer ends its task in `Closed`"]
pub struct Completer<T> {
    cell: ManuallyDrop<TaskRef>,
    _input: PhantomData<fn(T)>,
}

impl<T> Completer<T> {
    /// # Safety
    /// T7, T30: the cell was made by `cell::promise` with this `T`, or with its box.
    #[inline]
    pub(super) unsafe fn from_ref(cell: TaskRef) -> Self {
        Self {
            cell: ManuallyDrop::new(cell),
            _input: PhantomData,
        }
    }

    pub(in crate::task) fn cell(&self) -> &TaskRef {
        &self.cell
    }

    /// Ends the task with `result` and wakes its waiter. If the task was cancelled before, `result`
    /// is dropped.
    pub fn complete(self, result: Result<T, TaskError>) {
        if const { is_large::<T>() } {
            let result = match result {
                Ok(value) => Ok(Box::new(value)),
                Err(error) => Err(error),
            };
            return self.boxed().complete_stored(result);
        }
        self.complete_stored(result);
    }

    /// Like [`complete`](Self::complete). `T` must not be large.
    fn complete_stored(self, result: Result<T, TaskError>) {
        // SAFETY: T6: `self` is forgotten, so its count is given away once.
        unsafe { ManuallyDrop::new(self).end(result) };
    }

    /// The same completer as one of a box. `T` must be large.
    fn boxed(self) -> Completer<Box<T>> {
        debug_assert!(is_large::<T>());
        // SAFETY: T30: `T` is large, and the output of the cell is its box.
        unsafe { Completer::from_ref(self.into_cell()) }
    }

    fn into_cell(self) -> TaskRef {
        // SAFETY: T6: `self` is forgotten, so its count is given away once.
        unsafe { ManuallyDrop::take(&mut ManuallyDrop::new(self).cell) }
    }

    /// Writes `result`, unless the task was cancelled.
    ///
    /// # Safety
    /// T6: it is called once, and `self` is not used again.
    unsafe fn end(&mut self, result: Result<T, TaskError>) {
        // SAFETY: T6: the caller's promise: the count becomes ours.
        let cell = unsafe { ManuallyDrop::take(&mut self.cell) };
        if !cell.header().state.begin_complete() {
            return;
        }
        if events::is_on() {
            let how = result
                .as_ref()
                .map_or_else(TaskError::ending, |_| Ending::Done);
            cell.header().note_settled(how);
        }
        let output = result.map_err(StoredError::from);
        cell.header().touch_payload();
        // SAFETY: T7: the cell was made with this `T` (`from_ref`); T1: `begin_complete` has just
        // set RUNNING, for us, so the place is ours, and a promise's work is `()`, which
        // need not be dropped (T8).
        unsafe { cell.output().write(output) }
        // SAFETY: T1, T8: RUNNING is ours, and the output is in place.
        unsafe { cell.finish(false) };
    }
}

impl<T> Completer<Box<T>> {
    /// The completer of a task with a large output, from that of its box.
    pub(super) fn unboxed(self) -> Completer<T> {
        debug_assert!(is_large::<T>());
        // SAFETY: T30: `T` is large, and the output of the cell is its box.
        unsafe { Completer::from_ref(self.into_cell()) }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        // SAFETY: T6: `self` is not used again; `complete` forgets what it has ended.
        let cell = unsafe { ManuallyDrop::take(&mut self.cell) };
        if cell.header().state.begin_complete() {
            // SAFETY: T1: `begin_complete` has just set RUNNING, for us; T8: a promise's work is
            // `()`, and there is no output yet.
            unsafe { cell.end(TaskError::Closed) };
        }
    }
}
