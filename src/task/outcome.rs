//! The output of a group's member: a value, or a result like a task's.
//!
//! **How they are distinguished.** Both implementations fit a `Result<T, TaskError>`, but the
//! second requires [`Unpin`], which [`TaskError`] deliberately is not. So the compiler infers a
//! group's `T` from its first task, although any other type may be a plain value
//! (`docs/DESIGN.md`).
//!
//! Tests: `tests/task/group_futures.rs`.

use super::error::TaskError;

/// The output of a member of a [`TaskGroup<T>`](crate::TaskGroup): a value, or the result of a
/// task.
///
/// Implemented for each `T` that is [`Unpin`], as nearly all values are, and for
/// `Result<T, TaskError>`. A value with a [`TaskError`] inside, which is not `Unpin`, is wrapped in
/// an `Ok`: `async { Ok(join_all(tasks).await) }`. Or implement `Unpin` for its type with
/// `impl Unpin for AppError {}`, since nothing in it needs to be pinned.
///
/// ```
/// let mut group = trefoil::TaskGroup::new();
/// group.add(trefoil::Task::ready(1));
/// group.add(async { 2 });
/// group.add(async { Ok(trefoil::Task::ready(2).await? + 1) });
/// assert_eq!(group.join_all().wait().unwrap(), [1, 2, 3]);
/// ```
#[diagnostic::on_unimplemented(
    message = "a member of this group gives `{T}` or `Result<{T}, TaskError>`, and not `{Self}`",
    label = "this gives `{Self}`"
)]
pub trait Outcome<T> {
    /// As the result of a task. It calls no code of others: only this crate implements it.
    #[doc(hidden)]
    fn into_result(self, _: Seal) -> Result<T, TaskError>;
}

impl<T> Outcome<T> for Result<T, TaskError> {
    fn into_result(self, _: Seal) -> Self {
        self
    }
}

impl<T: Unpin> Outcome<T> for T {
    fn into_result(self, _: Seal) -> Result<T, TaskError> {
        Ok(self)
    }
}

/// A future that never ends may be a member of a group of `()`: `async { loop { .. } }`.
#[doc(hidden)] // `!` has no name to be shown under
impl Outcome<()> for Never {
    fn into_result(self, _: Seal) -> Result<(), TaskError> {
        match self {}
    }
}

/// `!`, which has no name yet.
type Never = <fn() -> ! as Returns>::Output;

/// What a function returns.
pub trait Returns {
    /// That type.
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

/// Only this crate can name it, so other crates cannot implement [`Outcome`].
#[derive(Debug)]
pub struct Seal;

/// How what a future gives becomes the result of its task.
pub(crate) trait Ending<O, T> {
    fn result(output: O) -> Result<T, TaskError>;
}

/// Of a future that an executor runs: whatever it gives is the value.
pub(crate) struct Whole;

impl<T> Ending<T, T> for Whole {
    #[inline]
    fn result(output: T) -> Result<T, TaskError> {
        Ok(output)
    }
}

/// Of a future in a group.
pub(crate) struct ByOutcome;

impl<O: Outcome<T>, T> Ending<O, T> for ByOutcome {
    fn result(output: O) -> Result<T, TaskError> {
        output.into_result(Seal)
    }
}
