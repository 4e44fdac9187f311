//! How the output of a future becomes the result of its task.

use super::error::TaskError;

/// How the output of a future becomes the result of its task.
pub(crate) trait OutputRule<O, T> {
    fn result(output: O) -> Result<T, TaskError>;
}

/// The output is the value.
pub(crate) struct AsValue;

impl<T> OutputRule<T, T> for AsValue {
    #[inline]
    fn result(output: T) -> Result<T, TaskError> {
        Ok(output)
    }
}

/// The output is the result: its error is the task's failure.
pub(crate) struct AsResult;

impl<T> OutputRule<Result<T, TaskError>, T> for AsResult {
    fn result(output: Result<T, TaskError>) -> Result<T, TaskError> {
        output
    }
}
