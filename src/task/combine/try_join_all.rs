//! Waiting for every task of a list, as long as all goes well.
//!
//! Tasks are looked at in the order of completion, so the first failure in time,
//! wherever it stands in the list, ends the wait at once and cancels the rest. One whose result was taken before counts as
//! failed, in `Closed`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::{ReadyQueue, Task};

/// Waits for all `tasks`, from any mixture of executors; gives their values, in
/// their order, or the first failure, and then cancels the rest.
///
/// `.await` it, or call [`wait`](TryJoinAll::wait) in blocking code.
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
/// # Errors
/// The first failure in time.
///
/// # Cancel safety
/// Dropping it half-way detaches the tasks that have not ended; the values of the others
/// are dropped with it.
pub fn try_join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> TryJoinAll<T> {
    let mut tasks: Vec<_> = tasks.into_iter().collect();
    TryJoinAll {
        ready: ReadyQueue::of(&mut tasks),
        left: tasks.len(),
        tasks,
    }
}

/// What [`try_join_all`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct TryJoinAll<T> {
    tasks: Vec<Task<T>>,
    ready: ReadyQueue,
    left: usize,
}

impl<T> TryJoinAll<T> {
    /// Blocks until all have ended, or one has failed.
    ///
    /// # Errors
    /// The first failure in time. On an event-loop thread it never blocks: if
    /// one has not ended, [`TaskError::WouldBlock`], and the rest are cancelled.
    pub fn wait(mut self) -> Result<Vec<T>, TaskError> {
        block_on(&mut self).unwrap_or_else(|| {
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
            let key = ready!(this.ready.poll_next(cx));
            this.left -= 1;
            if this.tasks[key].error().is_some() {
                this.left = 0;
                let mut rest = std::mem::take(&mut this.tasks);
                let failed = rest.swap_remove(key);
                cancel_all(rest);
                return Poll::Ready(failed.join().map(|_| Vec::new()));
            }
        }
        let tasks = std::mem::take(&mut this.tasks).into_iter();
        // They have ended, so joining does not wait.
        Poll::Ready(tasks.map(Task::join).collect())
    }
}

impl<T> fmt::Debug for TryJoinAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoinAll")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
