//! Waiting for every task of a list.
//!
//! Tasks are awaited one after another, in order. All results are needed, so it does not matter
//! which task ends first. The waiter is registered with each task, and woken by it, at most once.
//! The time is linear in the number of tasks, with no allocation per task.
//!
//! Results stay in their tasks until all have ended. If the wait is dropped before, a failure that
//! was not returned counts as one that was never taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::{IntoTask, into_tasks};
use crate::task::error::TaskError;
use crate::task::raw::Task;

/// Waits for all `tasks`, from any mixture of executors; returns every result, in their order.
///
/// `.await` it, or call [`join`](JoinAll::join) in blocking code.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let squares = (0..4u64).map(|n| pool.spawn(move || n * n));
/// let results: Result<Vec<u64>, _> = trefoil::join_all(squares).join().into_iter().collect();
/// assert_eq!(results.unwrap(), [0, 1, 4, 9]);
/// ```
///
/// For futures that are not tasks, spawn them first: `join_all(futures.map(trefoil::spawn))`. For a
/// few futures of different types there is [`join!`](crate::join!). To poll a list of futures inside
/// the task that awaits it, so that they may borrow, use `join_all` or `FuturesUnordered` of the
/// crate `futures`.
///
/// # Cancel safety
/// Dropping it before its end drops the tasks: they are detached, or cancelled if they are
/// [`cancel_on_drop`](Task::cancel_on_drop). The results of those that have ended are dropped.
#[doc(alias = "gather")]
pub fn join_all<T>(tasks: impl IntoIterator<Item: IntoTask<T>>) -> JoinAll<T> {
    JoinAll {
        tasks: into_tasks(tasks),
        ended: 0,
    }
}

/// Returned by [`join_all`].
///
/// ```
/// use trefoil::{Task, join_all};
///
/// let both = || join_all([Task::ready(1), Task::ready(2)]);
/// let blocking = both().join(); // a `Result` for each task, in order
/// let awaited = trefoil::run(async { both().await });
/// assert!(blocking.into_iter().chain(awaited).all(|result| result.is_ok()));
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct JoinAll<T> {
    tasks: Vec<Task<T>>,
    /// How many tasks from the front have ended. The next one is being awaited.
    ended: usize,
}

impl<T> JoinAll<T> {
    /// Blocks until all have ended.
    ///
    /// On an event-loop thread it never blocks: the result of each task that has not ended is
    /// [`TaskError::WouldBlock`], and the task is dropped.
    pub fn join(self) -> Vec<Result<T, TaskError>> {
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
        Poll::Ready(super::results(std::mem::take(&mut this.tasks)).collect())
    }
}

debug!(impl<T> JoinAll<T>, self, ended = self.ended, of = self.tasks.len());
