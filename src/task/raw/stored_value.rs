//! The value of a task that has ended, looked at in its cell.
//!
//! - **T31** While a [`StoredValue`] exists, its task is done, and the output in its cell is a
//!   value that nobody takes: nobody else has the handle.
//!
//! Tests: `tests/task/combinators.rs`, `tests/large_values.rs`; Miri:
//! `tests/interpreted.rs::large_results_are_dropped_once`.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use super::Task;
use super::stored_error::Output;
use crate::large::is_large;
use crate::task::error::TaskError;

/// The value of a task that has ended.
pub(in crate::task) struct StoredValue<T> {
    task: Task<T>,
    /// It is `Sync` only if the value is.
    _value: PhantomData<T>,
}

impl<T> Task<T> {
    /// The value of a task that has ended, where it is; or its error, out of it.
    pub(in crate::task) fn into_stored(mut self) -> Result<StoredValue<T>, TaskError> {
        debug_assert!(self.is_finished());
        if self.error().is_some() {
            return Err(self.take_error());
        }
        Ok(StoredValue {
            task: self,
            _value: PhantomData,
        })
    }

    fn take_error(&mut self) -> TaskError {
        let error = if const { is_large::<T>() } {
            self.as_boxed().take_stored().and_then(Result::err)
        } else {
            self.take_stored().and_then(Result::err)
        };
        error.unwrap_or(TaskError::Closed)
    }
}

impl<T> StoredValue<T> {
    pub(in crate::task) fn get(&self) -> &T {
        if const { is_large::<T>() } {
            // SAFETY: T30: `T` is large, so it is in a box.
            return unsafe { self.stored::<Box<T>>() };
        }
        // SAFETY: T30: `T` is not large.
        unsafe { self.stored::<T>() }
    }

    /// # Safety
    /// T7, T30: the output of the cell is a `U`.
    unsafe fn stored<U>(&self) -> &U {
        // SAFETY: T31: the output is there and stays, and is only shared; it is a `U` (the caller's
        // promise).
        let output: &Output<U> = unsafe { self.task.cell().output::<U>().as_ref() };
        match output {
            Ok(value) => value,
            Err(_) => unreachable!("it has ended with a value"),
        }
    }
}
