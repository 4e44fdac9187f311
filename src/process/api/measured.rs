//! Calls whose items are measured: [`ProcessCall::measured`].
//!
//! Tests: `tests/process/usage.rs`.

use super::call::ProcessCall;
use super::imap::Imap;
use crate::process::value::portable::Portable;
use crate::process::value::usage::Usage;
use crate::task::{Task, TaskError};

/// Calls of one function, each of whose values comes with its item's [`Usage`]. Returned by
/// [`ProcessCall::measured`], which says what that costs.
///
/// ```
/// use trefoil::ProcessPool;
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// let call = procs.call(|n: u64| (0..n).sum::<u64>()).measured();
/// let (sum, usage) = call.spawn(1000).join()?;
/// println!("{sum} took {:?}", usage.wall());
/// # assert_eq!(sum, 499_500);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it calls nothing until `spawn`, `map` or one of the others"]
pub struct MeasuredCall<'a, A, R>(pub(super) ProcessCall<'a, A, (R, Usage)>);

impl<'a, A: Portable, R: Portable> ProcessCall<'a, A, R> {
    /// Measures each item: its value comes with the time by the clock, the processor time and the
    /// memory that it has used ([`Usage`]).
    ///
    /// It is measured in the worker, on every kind of worker, on other machines too. What the
    /// worker does before and after the function does not count: decoding the argument, encoding
    /// and dropping the result. An item that fails has an error, and no usage; one that was
    /// [retried](Self::retry) has that of its last attempt.
    ///
    /// It costs each item some tens of microseconds. After it, what a tree of all tasks
    /// (`trefoil::inspect`) says of the worker's memory is the most since its latest measured item
    /// began.
    ///
    /// ```
    /// use trefoil::ProcessPool;
    ///
    /// # trefoil::init();
    /// let procs = ProcessPool::with_workers(2)?;
    /// let sums = procs.call(|n: usize| (0..n as u64).collect::<Vec<_>>().iter().sum::<u64>());
    /// for (item, result) in sums.measured().map_each([10, 1 << 20]).into_iter().enumerate() {
    ///     let (_, usage) = result?;
    ///     let memory = usage.peak_memory().map(|bytes| bytes >> 20); // in MiB, on Linux
    ///     println!("{item}: {:?} of a processor, {memory:?} MiB", usage.cpu_time());
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn measured(self) -> MeasuredCall<'a, A, R> {
        MeasuredCall(self.with_usage())
    }
}

impl<A: Portable, R: Portable> MeasuredCall<'_, A, R> {
    /// Calls the function in a worker, and measures it: [`ProcessCall::spawn`] with the [`Usage`].
    #[track_caller]
    pub fn spawn(&self, arg: A) -> Task<(R, Usage)> {
        self.0.spawn(arg)
    }

    /// Calls the function for each item, and returns the values with their [`Usage`] in order, or
    /// the first failure: [`ProcessCall::map`].
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

    /// Begins a [`map`](Self::map) without waiting for it, and returns one task for all values:
    /// [`ProcessCall::map_task`].
    ///
    /// # Panics
    /// If the iterator does.
    #[track_caller]
    pub fn map_task(&self, items: impl IntoIterator<Item = A>) -> Task<Vec<(R, Usage)>> {
        self.0.map_task(items)
    }

    /// Calls the function for each item, and returns the result of each, failed ones included:
    /// [`ProcessCall::map_each`].
    ///
    /// # Panics
    /// If the iterator does.
    pub fn map_each(
        &self,
        items: impl IntoIterator<Item = A>,
    ) -> Vec<Result<(R, Usage), TaskError>> {
        self.0.map_each(items)
    }

    /// Yields the result of each item, with its [`Usage`], in the order of the items:
    /// [`ProcessCall::imap`].
    pub fn imap<I: IntoIterator<Item = A>>(&self, items: I) -> Imap<I::IntoIter, (R, Usage)> {
        self.0.imap(items)
    }

    /// Yields the result of each item, with its [`Usage`], as soon as it is there:
    /// [`ProcessCall::imap_unordered`].
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
