//! Waiting for every task of a list, until one fails.
//!
//! Tasks are checked in the order of completion. So the first failure in time, at any place in the
//! list, ends the wait at once and cancels the rest. A task whose result was taken before counts as
//! failed, in `Closed`.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{IntoTask, are_stuck, into_tasks};
use crate::parking::block_on_tasks;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::{ReadyQueue, Task};

/// Waits for all `tasks`, from any mixture of executors. Returns their values, in their order, or
/// the first failure, which cancels the other tasks.
///
/// `.await` it, or call [`join`](TryJoinAll::join) in blocking code.
///
/// ```
/// let values = trefoil::try_join_all((0..3).map(trefoil::Task::ready)).join();
/// assert_eq!(values.unwrap(), [0, 1, 2]);
///
/// let (completer, pending) = trefoil::Completer::<i32>::new();
/// let (failing, failed) = trefoil::Completer::<i32>::new();
/// drop(failing);
/// assert!(trefoil::try_join_all([pending, failed]).join().is_err());
/// assert!(completer.is_cancelled());
/// ```
///
/// For futures that are not tasks, see [`join_all`](crate::join_all).
///
/// # Errors
/// The first failure in time; of tasks that had failed before the call, the first in order.
///
/// # Cancel safety
/// Dropping it before its end drops the tasks: those that have not ended are detached, or cancelled
/// if they are [`cancel_on_drop`](Task::cancel_on_drop). The values of the others are dropped.
pub fn try_join_all<T>(tasks: impl IntoIterator<Item: IntoTask<T>>) -> TryJoinAll<T> {
    let mut tasks = into_tasks(tasks);
    TryJoinAll {
        ready: ReadyQueue::of(&mut tasks),
        left: tasks.len(),
        tasks,
    }
}

/// Returned by [`try_join_all`].
///
/// ```
/// use trefoil::{Task, try_join_all};
///
/// let values = trefoil::run(async { try_join_all([Task::ready(1), Task::ready(2)]).await });
/// assert_eq!(values.unwrap(), [1, 2]);
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct TryJoinAll<T> {
    tasks: Vec<Task<T>>,
    /// The numbers of the tasks that have ended.
    ready: ReadyQueue,
    left: usize,
}

impl<T> TryJoinAll<T> {
    /// Blocks until all have ended, or one has failed.
    ///
    /// # Errors
    /// That of [`try_join_all`]. On an event-loop thread it never blocks: if there is none yet,
    /// and a task has not ended, it is [`TaskError::WouldBlock`], and the rest are cancelled. Also
    /// once all that have not ended can only run on an event loop of this thread that is not
    /// running now.
    pub fn join(mut self) -> Result<Vec<T>, TaskError> {
        block_on_tasks(
            &mut self,
            |all, cx| Pin::new(all).poll(cx),
            |all| are_stuck(all.tasks.iter(), all.left),
        )
        .unwrap_or_else(|| {
            cancel_all(std::mem::take(&mut self.tasks));
            Err(TaskError::WouldBlock)
        })
    }
}

impl<T> Future for TryJoinAll<T> {
    type Output = Result<Vec<T>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.left > 0 {
            let number = ready!(this.ready.poll_next(cx));
            this.left -= 1;
            if this.tasks[number].error().is_some() {
                this.left = 0;
                let mut rest = std::mem::take(&mut this.tasks);
                let failed = rest.swap_remove(number);
                cancel_all(rest);
                return Poll::Ready(failed.join().map(|_| Vec::new()));
            }
        }
        // (Collecting into a `Result` moves each value some times more.)
        let mut values = Vec::with_capacity(this.tasks.len());
        for task in std::mem::take(&mut this.tasks) {
            match task.join() {
                Ok(value) => values.push(value),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(values))
    }
}

debug!(impl<T> TryJoinAll<T>, self, left = self.left);
