//! An error in one word, as a cell stores it: the output of a task without a value then takes 8
//! bytes instead of 16.
//!
//! Two errors are the end of tasks that nothing has failed in, and are in statics: cancelling a
//! task allocates nothing. The others are boxed.
//!
//! - **T29** The pointer is that of one of the two statics, or of a box of its own.
//!
//! Tests: below, Miri.
#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::task::error::TaskError;

static CANCELLED: TaskError = TaskError::Cancelled;
static CLOSED: TaskError = TaskError::Closed;

/// The error.
pub(super) struct StoredError(NonNull<TaskError>);

/// The output of a task, as its cell stores it.
pub(super) type Output<T> = Result<T, StoredError>;

// SAFETY: T29: a static, or a box, of what may be sent and shared.
unsafe impl Send for StoredError {}
// SAFETY: T29: as above.
unsafe impl Sync for StoredError {}

impl From<TaskError> for StoredError {
    #[inline]
    fn from(error: TaskError) -> Self {
        Self(match error {
            TaskError::Cancelled => NonNull::from(&CANCELLED),
            TaskError::Closed => NonNull::from(&CLOSED),
            other => boxed(other),
        })
    }
}

#[cold]
fn boxed(error: TaskError) -> NonNull<TaskError> {
    NonNull::new(Box::into_raw(Box::new(error))).expect("a box is somewhere")
}

impl StoredError {
    fn is_static(&self) -> bool {
        self.0 == NonNull::from(&CANCELLED) || self.0 == NonNull::from(&CLOSED)
    }
}

impl Deref for StoredError {
    type Target = TaskError;

    fn deref(&self) -> &TaskError {
        // SAFETY: T29: either lives at least as long as `self`, and is only shared.
        unsafe { self.0.as_ref() }
    }
}

impl From<StoredError> for TaskError {
    #[cold]
    fn from(error: StoredError) -> Self {
        if error.is_static() {
            return error.clone();
        }
        let error = ManuallyDrop::new(error);
        // SAFETY: T29: a box of its own, which is not dropped or used again.
        *unsafe { Box::from_raw(error.0.as_ptr()) }
    }
}

impl Drop for StoredError {
    #[cold]
    fn drop(&mut self) {
        if !self.is_static() {
            // SAFETY: T29: a box of its own, which is not used again.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_error_comes_back_and_takes_one_word() {
        assert_eq!(size_of::<Output<()>>(), size_of::<usize>());
        for error in [
            TaskError::Cancelled,
            TaskError::Closed,
            TaskError::WouldBlock,
            TaskError::failed("no"),
        ] {
            let shown = format!("{error:?}");
            let stored = StoredError::from(error);
            assert_eq!(format!("{:?}", *stored), shown);
            assert_eq!(format!("{:?}", TaskError::from(stored)), shown);
        }
    }
}
