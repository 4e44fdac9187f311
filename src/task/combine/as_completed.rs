//! Results in the order in which they come.
//!
//! Each task is registered once, with a waker that puts its number into a ready queue
//! (`raw/ready_queue.rs`). So a completion costs the same however many tasks there are, and a
//! million tasks take linear time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread::{self, ThreadId};

use futures_core::Stream;

use super::{IntoTask, are_stuck, into_tasks};
use crate::parking::block_on_tasks;
use crate::task::context::blocking_refused;
use crate::task::error::TaskError;
use crate::task::raw::{ReadyQueue, Task};

/// The results of `tasks`, from any mixture of executors, in the order in which they come; of tasks
/// that have ended already, in the order of `tasks`.
///
/// It is a [`Stream`] for async code, and in blocking code a `for` loop can iterate over it. A
/// result does not say which task it comes from. [`as_completed_keyed`](crate::as_completed_keyed)
/// does, by any key: the index (`tasks.into_iter().enumerate()`), the id, the name, the URL.
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
/// Dropping it drops the tasks whose results it has not returned: they are detached, or cancelled
/// if they are [`cancel_on_drop`](Task::cancel_on_drop).
pub fn as_completed<T>(tasks: impl IntoIterator<Item: IntoTask<T>>) -> AsCompleted<T> {
    let mut tasks = into_tasks(tasks);
    AsCompleted {
        ready: ReadyQueue::of(&mut tasks),
        left: tasks.len(),
        tasks: tasks.into_iter().map(Some).collect(),
        stuck_on: None,
    }
}

/// Returned by [`as_completed`].
///
/// ```
/// trefoil::run(async {
///     let mut results = trefoil::as_completed((1..=3).map(trefoil::Task::ready));
///     while let Some(result) = results.next().await {
///         assert!(result? > 0);
///     }
///     Ok::<_, trefoil::TaskError>(())
/// })?;
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[must_use = "it gives its results only when they are asked for"]
pub struct AsCompleted<T> {
    tasks: Vec<Option<Task<T>>>,
    ready: ReadyQueue,
    left: usize,
    /// The thread that has found all that are left stuck on it: they stay so, and are refused one
    /// by one.
    stuck_on: Option<ThreadId>,
}

/// A task that has ended, or the error in its place, and its index. (The result stays in the task
/// until its user gets it: each step that it is passed through may copy it.)
pub(super) type Numbered<T> = (usize, Result<Task<T>, TaskError>);

impl<T> AsCompleted<T> {
    /// Waits for the next result. This needs no other crate: `while let Some(result) =
    /// results.next().await`.
    ///
    /// # Cancel safety
    /// Dropping the returned future loses no result.
    pub async fn next(&mut self) -> Option<Result<T, TaskError>> {
        let (_, ended) = poll_fn(|cx| self.poll_numbered(cx)).await?;
        Some(ended.and_then(Task::join))
    }

    /// The task with this number, which has ended; `None`: the task was refused
    /// before.
    fn take(&mut self, number: usize) -> Option<Numbered<T>> {
        let task = self.tasks.get_mut(number)?.take()?;
        self.left -= 1;
        Some((number, Ok(task)))
    }

    pub(super) fn poll_numbered(&mut self, cx: &mut Context<'_>) -> Poll<Option<Numbered<T>>> {
        while self.left > 0 {
            let number = ready!(self.ready.poll_next(cx));
            if let Some(result) = self.take(number) {
                return Poll::Ready(Some(result));
            }
        }
        Poll::Ready(None)
    }

    /// Blocks until there is a next result, if this thread may block.
    pub(super) fn next_numbered(&mut self) -> Option<Numbered<T>> {
        // While there are results, this does not even access the parker.
        while let Some(number) = self.ready.next() {
            if let Some(result) = self.take(number) {
                return Some(result);
            }
        }
        match block_on_tasks(self, Self::poll_numbered, Self::is_stuck) {
            Some(result) => result,
            None => {
                if !blocking_refused() {
                    self.stuck_on = Some(thread::current().id());
                }
                self.refuse_one()
            }
        }
    }

    fn is_stuck(&self) -> bool {
        self.stuck_on == Some(thread::current().id())
            || are_stuck(self.tasks.iter().flatten(), self.left)
    }

    /// Gives up one task that has not ended, because this thread cannot wait for it.
    fn refuse_one(&mut self) -> Option<Numbered<T>> {
        let _refused = std::iter::from_fn(|| self.tasks.pop()).flatten().next()?;
        self.left -= 1;
        Some((self.tasks.len(), Err(TaskError::WouldBlock)))
    }
}

impl<T> Stream for AsCompleted<T> {
    type Item = Result<T, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.poll_numbered(cx)) {
            Some((_, ended)) => Poll::Ready(Some(ended.and_then(Task::join))),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> IntoIterator for AsCompleted<T> {
    type Item = Result<T, TaskError>;
    type IntoIter = AsCompletedIter<T>;

    fn into_iter(self) -> AsCompletedIter<T> {
        AsCompletedIter { results: self }
    }
}

/// The blocking half of [`as_completed`]: `next` waits for the next result.
///
/// On an event-loop thread it never blocks: it returns the results of tasks that have ended, and
/// then one [`TaskError::WouldBlock`] for each other task, which is dropped.
///
/// ```
/// let tasks = (1..=3).map(trefoil::Task::ready);
/// let sum: u32 = trefoil::as_completed(tasks).into_iter().sum::<Result<u32, _>>()?;
/// assert_eq!(sum, 6);
/// # Ok::<_, trefoil::TaskError>(())
/// ```
pub struct AsCompletedIter<T> {
    results: AsCompleted<T>,
}

impl<T> Iterator for AsCompletedIter<T> {
    type Item = Result<T, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (_, ended) = self.results.next_numbered()?;
        Some(ended.and_then(Task::join))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.results.left, Some(self.results.left))
    }
}

impl<T> ExactSizeIterator for AsCompletedIter<T> {}

debug!(impl<T> AsCompleted<T>, self, left = self.left);

debug!(impl<T> AsCompletedIter<T>, self, results = self.results);
