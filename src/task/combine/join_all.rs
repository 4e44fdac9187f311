//! Waiting for every task of a list, or every future.
//!
//! Tasks are awaited one after another, in order. All results are needed, so it does not matter
//! which task ends first. The waiter is registered with each task, and woken by it, at most once.
//! The time is linear in the number of tasks, with no allocation per task.
//!
//! Results stay in their tasks until all have ended. If the wait is dropped before, a failure that
//! was not returned counts as one that was never taken.
//!
//! Futures that are no tasks are polled here ([`Together`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::together::Together;
use crate::task::error::TaskError;
use crate::task::raw::{Task, as_tasks, output_of};

/// Waits for all `futures`; returns every output, in their order. For tasks, from any mixture of
/// executors, the outputs are their results.
///
/// `.await` it, or, for tasks, call [`wait`](JoinAll::wait) in blocking code.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(2);
/// let squares = (0..4u64).map(|n| pool.spawn(move || n * n));
/// let results: Result<Vec<u64>, _> = trefoil::join_all(squares).wait().into_iter().collect();
/// assert_eq!(results.unwrap(), [0, 1, 4, 9]);
/// ```
///
/// Futures that are no tasks are polled in the task that awaits this: nothing is spawned, so they
/// may borrow, need not be `Send`, and stop when they are dropped. For a few futures of different
/// types there is [`join!`](crate::join!).
///
/// ```
/// let words = ["one", "three", "seven"].map(String::from);
/// let lengths = trefoil::run(trefoil::join_all(words.iter().map(async |word| {
///     trefoil::yield_now().await;
///     word.len()
/// })));
/// assert_eq!(lengths, [3, 5, 5]);
/// ```
///
/// Cost: no allocation for a task; two for another future, which is polled only when it was woken.
///
/// # Cancel safety
/// Dropping it before its end detaches the tasks; the results of those that have ended are dropped
/// with it. Other futures are dropped, and so are their outputs.
pub fn join_all<F: IntoFuture>(futures: impl IntoIterator<Item = F>) -> JoinAll<F::IntoFuture> {
    JoinAll {
        futures: futures.into_iter().map(F::into_future).collect(),
        ended: 0,
        others: None,
    }
}

/// Returned by [`join_all`].
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct JoinAll<F: Future> {
    /// All futures, if they are tasks; otherwise the futures until the first poll.
    futures: Vec<F>,
    /// How many tasks from the front have ended. The next one is being awaited.
    ended: usize,
    others: Option<Together<F>>,
}

impl<T> JoinAll<Task<T>> {
    /// Blocks until all have ended.
    ///
    /// On an event-loop thread it never blocks: the result of each task that has not ended is
    /// [`TaskError::WouldBlock`], and the task is detached.
    pub fn wait(self) -> Vec<Result<T, TaskError>> {
        self.futures.into_iter().map(Task::join).collect()
    }
}

impl<F: Future> Future for JoinAll<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(tasks) = as_tasks(&mut this.futures) else {
            let others = Together::begun(&mut this.others, &mut this.futures);
            while let Some((number, output)) = ready!(others.poll_next(cx)) {
                others.keep(number, output);
            }
            return Poll::Ready(others.kept().collect());
        };
        while let Some(task) = tasks.get_mut(this.ended) {
            if !task.cell().is_finished() && task.register(cx.waker().clone()) {
                return Poll::Pending;
            }
            this.ended += 1;
        }
        let tasks = std::mem::take(&mut this.futures).into_iter();
        Poll::Ready(tasks.map(output_of).collect())
    }
}

// The futures are not moved once they are polled.
impl<F: Future> Unpin for JoinAll<F> {}

debug!(impl<F: Future> JoinAll<F>, self, ended = self.ended);
