//! Results in the order in which they come.
//!
//! Each task is registered once, with a waker that puts its number into a ready
//! queue (`raw/ready_queue.rs`); so a completion costs the same however many tasks there
//! are, and a million tasks take linear time.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::results::{ResultIter, ResultStream, Results};
use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::outcome::Seal;
use crate::task::raw::{ReadyQueue, Task};

/// The results of `tasks`, from any mixture of executors, as they come.
///
/// A [`ResultStream`]: a stream in async code, and in blocking code something to loop over with
/// `for`.
///
/// ```
/// let (first, slow) = trefoil::Completer::new();
/// let tasks = [slow, trefoil::Task::ready(2)];
/// let mut seen = Vec::new();
/// let mut results = trefoil::as_completed(tasks).into_iter();
/// seen.push(results.next().unwrap().unwrap());
/// first.complete(Ok(1));
/// seen.push(results.next().unwrap().unwrap());
/// assert!(results.next().is_none());
/// assert_eq!(seen, [2, 1]);
/// ```
///
/// # Cancel safety
/// Dropping it detaches the tasks whose results have not been given; no
/// result that was given is lost.
pub fn as_completed<T>(tasks: impl IntoIterator<Item = Task<T>>) -> ResultStream<AsCompleted<T>> {
    ResultStream(AsCompleted::of(tasks.into_iter().collect()))
}

/// The tasks of [`as_completed`], which returns a [`ResultStream`] of them.
pub struct AsCompleted<T> {
    tasks: Vec<Option<Task<T>>>,
    ready: ReadyQueue,
    left: usize,
}

/// A result, and the number of its task: the place that it had among the tasks.
pub(super) type Numbered<T> = (usize, Result<T, TaskError>);

impl<T> AsCompleted<T> {
    pub(super) fn of(mut tasks: Vec<Task<T>>) -> Self {
        Self {
            ready: ReadyQueue::of(&mut tasks),
            left: tasks.len(),
            tasks: tasks.into_iter().map(Some).collect(),
        }
    }

    /// The result of the task with this number, which has ended; `None`: it was refused before.
    fn take(&mut self, number: usize) -> Option<Numbered<T>> {
        let mut task = self.tasks.get_mut(number)?.take()?;
        self.left -= 1;
        Some((number, task.try_join()?))
    }

    /// Gives up one task that has not ended, on a thread that must not block.
    fn refuse_one(&mut self) -> Option<Numbered<T>> {
        let _refused = std::iter::from_fn(|| self.tasks.pop()).flatten().next()?;
        self.left -= 1;
        Some((self.tasks.len(), Err(TaskError::WouldBlock)))
    }
}

impl<T> Results for AsCompleted<T> {
    type Item = Result<T, TaskError>;

    fn poll_result(&mut self, cx: &mut Context<'_>, _: Seal) -> Poll<Option<Numbered<T>>> {
        while self.left > 0 {
            let number = ready!(self.ready.poll_next(cx));
            if let Some(result) = self.take(number) {
                return Poll::Ready(Some(result));
            }
        }
        Poll::Ready(None)
    }

    fn wait_result(&mut self, _: Seal) -> Option<Numbered<T>> {
        // Not even a look at the parker while results are there.
        while let Some(number) = self.ready.next() {
            if let Some(result) = self.take(number) {
                return Some(result);
            }
        }
        match block_on(poll_fn(|cx| self.poll_result(cx, Seal))) {
            Some(result) => result,
            None => self.refuse_one(),
        }
    }

    fn left(&self, _: Seal) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for ResultIter<AsCompleted<T>> {}

impl<T> fmt::Debug for AsCompleted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
