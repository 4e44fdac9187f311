//! Waiting for every task of a list, or every future, as long as all goes well.
//!
//! Tasks are looked at in the order of completion, so the first failure in time,
//! wherever it stands in the list, ends the wait at once and cancels the rest. One whose result was
//! taken before counts as failed, in `Closed`.
//!
//! Other futures are polled here ([`Together`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::together::Together;
use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::{ReadyQueue, Task, as_tasks_of, output_of};

/// Waits for all `futures`, or for tasks from any mixture of executors; gives their values, in
/// their order, or the first failure, and then cancels the other tasks, or drops the other futures.
///
/// `.await` it, or, for tasks, call [`wait`](TryJoinAll::wait) in blocking code.
///
/// ```
/// let values = trefoil::try_join_all((0..3).map(trefoil::Task::ready)).wait();
/// assert_eq!(values.unwrap(), [0, 1, 2]);
///
/// let (completer, pending) = trefoil::Completer::<i32>::new();
/// let (failing, failed) = trefoil::Completer::<i32>::new();
/// drop(failing);
/// assert!(trefoil::try_join_all([pending, failed]).wait().is_err());
/// assert!(completer.is_cancelled());
/// ```
///
/// Futures that are no tasks are polled in the task that awaits this, as
/// [`join_all`](crate::join_all) does, and their errors are of any one type:
///
/// ```
/// let lengths = ["12", "x", "34"].map(async |text: &str| text.parse::<u32>());
/// assert!(trefoil::run(trefoil::try_join_all(lengths)).is_err());
/// ```
///
/// # Errors
/// The first failure in time.
///
/// # Cancel safety
/// Dropping it half-way detaches the tasks that have not ended; the values of the others
/// are dropped with it. Other futures are dropped.
pub fn try_join_all<F, T, E>(futures: impl IntoIterator<Item = F>) -> TryJoinAll<F::IntoFuture>
where
    F: IntoFuture<Output = Result<T, E>>,
{
    let mut futures: Vec<_> = futures.into_iter().map(F::into_future).collect();
    let ready = as_tasks_of(&mut futures).map_or_else(ReadyQueue::default, ReadyQueue::of);
    TryJoinAll {
        ready,
        left: futures.len(),
        futures,
        others: None,
    }
}

/// Returned by [`try_join_all`].
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct TryJoinAll<F: Future> {
    /// All of them, if they are tasks; other futures until the first poll.
    futures: Vec<F>,
    /// The tasks that have ended.
    ready: ReadyQueue,
    left: usize,
    others: Option<Together<F>>,
}

impl<T> TryJoinAll<Task<T>> {
    /// Blocks until all have ended, or one has failed.
    ///
    /// # Errors
    /// The first failure in time. On an event-loop thread it never blocks: if
    /// one has not ended, [`TaskError::WouldBlock`], and the rest are cancelled.
    pub fn wait(mut self) -> Result<Vec<T>, TaskError> {
        block_on(&mut self).unwrap_or_else(|| {
            cancel_all(std::mem::take(&mut self.futures));
            Err(TaskError::WouldBlock)
        })
    }
}

impl<F, T, E> Future for TryJoinAll<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(tasks) = as_tasks_of(&mut this.futures) else {
            let others = Together::begun(&mut this.others, &mut this.futures);
            while let Some((number, output)) = ready!(others.poll_next(cx)) {
                match output {
                    Ok(value) => others.keep(number, Ok(value)),
                    Err(error) => {
                        this.others = None;
                        return Poll::Ready(Err(error));
                    }
                }
            }
            return Poll::Ready(others.kept().collect());
        };
        while this.left > 0 {
            let key = ready!(this.ready.poll_next(cx));
            this.left -= 1;
            if tasks[key].error().is_some() {
                this.left = 0;
                let mut rest = std::mem::take(&mut this.futures);
                let failed = rest.swap_remove(key);
                cancel_all(rest);
                return Poll::Ready(output_of(failed).map(|_| Vec::new()));
            }
        }
        let tasks = std::mem::take(&mut this.futures).into_iter();
        Poll::Ready(tasks.map(output_of).collect())
    }
}

// Where a future stands is left alone once it is polled.
impl<F: Future> Unpin for TryJoinAll<F> {}

debug!(impl<F: Future> TryJoinAll<F>, self, left = self.left);
