//! A task whose own error is its failure.

use std::error::Error;

use crate::large::is_large;
use crate::task::error::TaskError;
use crate::task::raw::Task;

impl<T, E> Task<Result<T, E>>
where
    T: Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    /// Makes an error of the work the task's failure: [`TaskError::Failed`]. So what reacts to
    /// failures ([`try_join_all`](crate::try_join_all), a [`TaskGroup`](crate::TaskGroup), the hook
    /// for failures that are never taken) reacts to that error, too. A [`TaskError`] stays itself:
    /// the failure of a task that awaits another with `?` is the other's.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use trefoil::{TaskError, ThreadPool, try_join_all};
    ///
    /// let pool = ThreadPool::with_threads(2);
    /// let parsed = ["1", "x", "3"].map(|text| pool.spawn(move || text.parse::<u32>()).flatten());
    /// let error = try_join_all(parsed).join().unwrap_err();
    /// let TaskError::Failed(failure) = error else { panic!("{error}") };
    /// assert!(failure.downcast_ref::<ParseIntError>().is_some());
    /// ```
    ///
    /// Otherwise it is as [`map`](Task::map): cancelling the new task cancels this one, and a task
    /// that is [`cancel_on_drop`](Task::cancel_on_drop) stays so.
    #[track_caller]
    pub fn flatten(self) -> Task<T> {
        if const { is_large::<T>() } {
            let boxed = self.and_then(|result| match result {
                Ok(value) => Ok(Box::new(value)),
                Err(error) => Err(TaskError::failed(error)),
            });
            return boxed.unboxed();
        }
        self.and_then(|result| result.map_err(TaskError::failed))
    }
}
