//! The producer's reference: it writes the output of a task that no executor runs.
//!
//! Checked by the models of completion in `checks/tests/models.rs`, and `tests/task/reentrancy.rs`.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::header::TaskRef;
use crate::record::{self, Ending};
use crate::task::error::TaskError;

/// The producer's reference to a promise with output `T`.
pub(in crate::task) struct Promise<T> {
    cell: TaskRef,
    _input: PhantomData<fn(T)>,
}

impl<T> Promise<T> {
    /// # Safety
    /// T7: the cell was made by `cell::promise` with this `T`.
    #[inline]
    pub(super) unsafe fn from_ref(cell: TaskRef) -> Self {
        Self {
            cell,
            _input: PhantomData,
        }
    }

    #[inline]
    pub(in crate::task) fn cell(&self) -> &TaskRef {
        &self.cell
    }

    /// Writes `result`, unless it was cancelled.
    pub(in crate::task) fn complete(self, result: Result<T, TaskError>) {
        let cell = self.cell;
        if !cell.header().state.begin_complete() {
            return;
        }
        let how = result
            .as_ref()
            .map_or_else(TaskError::ending, |_| Ending::Done);
        record::settled(cell.header().birth.id.get(), how);
        cell.header().touch_payload();
        // SAFETY: T7: the cell was made with this `T` (`from_ref`); T1: `begin_complete` has just set RUNNING, for us, so the
        // place is ours, and a promise's work is `()`, which need not be dropped (T8).
        unsafe { cell.output().write(result) }
        // SAFETY: T1, T8: RUNNING is ours, and the output is in place.
        unsafe { cell.finish(false) };
    }
}
