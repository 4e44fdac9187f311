//! Waiting for every task of a list.
//!
//! The tasks are awaited one after another, in order: since all are needed, it
//! does not matter which ends first, and each is registered with and woken
//! for at most once. Linear in the number of tasks, and no allocation per task.
//!
//! Results stay in their tasks until all are there: a failure that is never given, since
//! the wait was dropped half-way, is then one that was never taken.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::task::error::TaskError;
use crate::task::raw::Task;

/// Waits for all `tasks`, from any mixture of executors; gives every result, in
/// their order.
///
/// `.await` it, or call [`wait`](JoinAll::wait) in blocking code.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let squares = (0..4u64).map(|n| pool.spawn(move || n * n));
/// let results: Result<Vec<u64>, _> = trefoil::join_all(squares).wait().into_iter().collect();
/// assert_eq!(results.unwrap(), [0, 1, 4, 9]);
/// ```
///
/// # Cancel safety
/// Dropping it half-way detaches the tasks; the results of those that have ended are
/// dropped with it.
pub fn join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> JoinAll<T> {
    JoinAll {
        tasks: tasks.into_iter().collect(),
        ended: 0,
    }
}

/// What [`join_all`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct JoinAll<T> {
    tasks: Vec<Task<T>>,
    /// So many from the front have ended; the next one is awaited now.
    ended: usize,
}

impl<T> JoinAll<T> {
    /// Blocks until all have ended.
    ///
    /// On an event-loop thread it never blocks: each task that has not ended
    /// yields [`TaskError::WouldBlock`] and is detached.
    pub fn wait(self) -> Vec<Result<T, TaskError>> {
        self.tasks.into_iter().map(Task::join).collect()
    }
}

impl<T> Future for JoinAll<T> {
    type Output = Vec<Result<T, TaskError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(task) = this.tasks.get_mut(this.ended) {
            if !task.is_finished() && task.register(cx.waker().clone()) {
                return Poll::Pending;
            }
            this.ended += 1;
        }
        let tasks = std::mem::take(&mut this.tasks).into_iter();
        // They have ended, so joining does not wait.
        Poll::Ready(tasks.map(Task::join).collect())
    }
}

impl<T> fmt::Debug for JoinAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll")
            .field("ended", &self.ended)
            .field("awaited", &self.tasks.get(self.ended))
            .finish_non_exhaustive()
    }
}
