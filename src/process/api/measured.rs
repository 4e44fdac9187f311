//! Calls whose items are measured: [`ProcessCall::measured`](super::call::ProcessCall::measured).
//!
//! Tests: `tests/process/usage.rs`.

use super::call::ProcessCall;
use super::imap::Imap;
use crate::process::value::portable::Portable;
use crate::process::value::usage::Usage;
use crate::task::{Task, TaskError};

/// Calls of one function, each of whose values comes with its item's [`Usage`]; from
/// [`ProcessCall::measured`], which says what that costs.
#[must_use = "it calls nothing until `spawn`, `map` or one of the others"]
pub struct MeasuredCall<'a, A, R>(pub(super) ProcessCall<'a, A, (R, Usage)>);

impl<A: Portable, R: Portable> MeasuredCall<'_, A, R> {
    /// As [`ProcessCall::spawn`].
    #[track_caller]
    pub fn spawn(&self, arg: A) -> Task<(R, Usage)> {
        self.0.spawn(arg)
    }

    /// As [`ProcessCall::map`].
    ///
    /// # Errors
    /// See [`ProcessPool::map`](crate::ProcessPool::map).
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map(&self, items: impl IntoIterator<Item = A>) -> Result<Vec<(R, Usage)>, TaskError> {
        self.0.map(items)
    }

    /// As [`ProcessCall::map_task`].
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map_task(&self, items: impl IntoIterator<Item = A>) -> Task<Vec<(R, Usage)>> {
        self.0.map_task(items)
    }

    /// As [`ProcessCall::map_each`].
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Vec<Result<(R, Usage), TaskError>> {
        self.0.map_each(items)
    }

    /// As [`ProcessCall::imap`].
    pub fn imap<I: IntoIterator<Item = A>>(&self, items: I) -> Imap<I::IntoIter, (R, Usage)> {
        self.0.imap(items)
    }

    /// As [`ProcessCall::imap_unordered`].
    pub fn imap_unordered<I>(&self, items: I) -> Imap<I::IntoIter, (R, Usage)>
    where
        I: IntoIterator<Item = A>,
    {
        self.0.imap_unordered(items)
    }
}

impl<A, R> Clone for MeasuredCall<'_, A, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

debug!(impl<A, R> MeasuredCall<'_, A, R>, self, call = self.0);
