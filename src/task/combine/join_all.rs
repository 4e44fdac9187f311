//! Waiting for every task of a list, or every future.
//!
//! Tasks are awaited one after another, in order: since all are needed, it
//! does not matter which ends first, and each is registered with and woken
//! for at most once. Linear in the number of tasks, and no allocation per task.
//!
//! Results stay in their tasks until all are there: a failure that is never given, since
//! the wait was dropped half-way, is then one that was never taken.
//!
//! Other futures are polled here ([`Together`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::together::Together;
use crate::task::error::TaskError;
use crate::task::raw::{Task, as_tasks, output_of};

/// Waits for all `futures`; gives every output, in their order. Of tasks, from any mixture of
/// executors, these are their results.
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
/// may borrow, need not be `Send`, and stop when they are dropped. For a few of different types
/// there is [`join!`](crate::join!).
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
/// Dropping it half-way detaches the tasks; the results of those that have ended are
/// dropped with it. Other futures are dropped, and outputs that are there.
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
    /// All of them, if they are tasks; other futures until the first poll.
    futures: Vec<F>,
    /// So many tasks from the front have ended; the next one is awaited now.
    ended: usize,
    others: Option<Together<F>>,
}

impl<T> JoinAll<Task<T>> {
    /// Blocks until all have ended.
    ///
    /// On an event-loop thread it never blocks: each task that has not ended
    /// yields [`TaskError::WouldBlock`] and is detached.
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

// Where a future stands is left alone once it is polled.
impl<F: Future> Unpin for JoinAll<F> {}

debug!(impl<F: Future> JoinAll<F>, self, ended = self.ended);
