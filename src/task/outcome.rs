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
    /// Converts it to the result of a task. This calls no other crate's code, because only this
    /// crate implements it.
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
#[doc(hidden)] // `!` has no name that could be shown
impl Outcome<()> for Never {
    fn into_result(self, _: Seal) -> Result<(), TaskError> {
        match self {}
    }
}

/// The type `!`, which has no name yet.
type Never = <fn() -> ! as Returns>::Output;

/// The return type of a function.
pub trait Returns {
    /// The return type.
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

/// Only this crate can name it, so other crates cannot implement [`Outcome`].
#[derive(Debug)]
pub struct Seal;

/// How the output of a future becomes the result of its task.
pub(crate) trait OutputRule<O, T> {
    fn result(output: O) -> Result<T, TaskError>;
}

/// For a future that an executor runs: the output is the value.
pub(crate) struct AsValue;

impl<T> OutputRule<T, T> for AsValue {
    #[inline]
    fn result(output: T) -> Result<T, TaskError> {
        Ok(output)
    }
}

/// For a future in a group.
pub(crate) struct ByOutcome;

impl<O: Outcome<T>, T> OutputRule<O, T> for ByOutcome {
    fn result(output: O) -> Result<T, TaskError> {
        output.into_result(Seal)
    }
}
