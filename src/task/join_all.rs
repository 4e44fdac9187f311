//! Waiting for every task of a list.
//!
//! The tasks are awaited one after another, in order: since all are needed, it
//! does not matter which ends first, and each is registered with and woken
//! for at most once. Linear in the number of tasks, and no allocation per task.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Task, TaskError};

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
/// Dropping it half-way detaches the tasks that have not ended; the results that it
/// has collected are dropped with it.
pub fn join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> JoinAll<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let results = Vec::with_capacity(tasks.len());
    JoinAll {
        tasks: tasks.into_iter(),
        current: None,
        results,
    }
}

/// What [`join_all`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct JoinAll<T> {
    tasks: std::vec::IntoIter<Task<T>>,
    /// The one that is awaited now.
    current: Option<Task<T>>,
    results: Vec<Result<T, TaskError>>,
}

impl<T> JoinAll<T> {
    /// Blocks until all have ended.
    ///
    /// On an event-loop thread it never blocks: each task that has not ended
    /// yields [`TaskError::WouldBlock`] and is detached.
    pub fn wait(mut self) -> Vec<Result<T, TaskError>> {
        while let Some(task) = self.current.take().or_else(|| self.tasks.next()) {
            self.results.push(task.join());
        }
        std::mem::take(&mut self.results)
    }
}

impl<T> Future for JoinAll<T> {
    type Output = Vec<Result<T, TaskError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(mut task) = this.current.take().or_else(|| this.tasks.next()) {
            match Pin::new(&mut task).poll(cx) {
                Poll::Ready(result) => this.results.push(result),
                Poll::Pending => {
                    this.current = Some(task);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(std::mem::take(&mut this.results))
    }
}

// Nothing in it is pinned.
impl<T> Unpin for JoinAll<T> {}

impl<T> fmt::Debug for JoinAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAll")
            .field("ended", &self.results.len())
            .field("awaited", &self.current)
            .field("left", &self.tasks.len())
            .finish()
    }
}
