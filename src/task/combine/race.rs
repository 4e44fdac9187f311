//! Waiting for the first task of a list, or the first future.
//!
//! Each task gets the racer's own waker, so whichever ends wakes it; it then looks
//! for the winner from the front. Two looks at every task in all: one to
//! register, one to find the winner.
//!
//! Other futures are polled here ([`Together`]).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::together::Together;
use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::{AnyTask, Task, as_tasks, closed, is_task, output_of};

/// Waits for the first of `futures` to end and gives its output. Of tasks, that is its result, good
/// or bad, and the other tasks are cancelled; other futures are dropped.
///
/// `.await` it, or, for tasks, call [`wait`](Race::wait) in blocking code. Of several that have
/// ended, the first in order wins. Without any tasks: [`TaskError::Closed`].
///
/// ```
/// let (_never, slow) = trefoil::Completer::<u32>::new();
/// let fast = trefoil::Task::ready(7);
/// assert_eq!(trefoil::race([slow, fast]).wait().unwrap(), 7);
/// ```
///
/// Futures that are no tasks are polled in the task that awaits this, as
/// [`join_all`](crate::join_all) does. A task inside a future that loses is detached, as it is
/// wherever it is dropped. For a few of different types there is [`select!`](crate::select!).
///
/// ```
/// use std::time::Duration;
///
/// let naps = [500, 1].map(async |ms| {
///     trefoil::time::sleep(Duration::from_millis(ms)).await;
///     ms
/// });
/// assert_eq!(trefoil::run(trefoil::race(naps)), 1);
/// ```
///
/// # Panics
/// If there are no futures, and they would not be tasks: nothing could ever win, and no error can
/// be given.
///
/// # Cancel safety
/// Dropping it before the end detaches all tasks; no result is lost that could have
/// been taken. Other futures are dropped.
#[track_caller]
pub fn race<F: IntoFuture>(futures: impl IntoIterator<Item = F>) -> Race<F::IntoFuture> {
    let futures: Vec<_> = futures.into_iter().map(F::into_future).collect();
    assert!(
        !futures.is_empty() || is_task::<F::IntoFuture>(),
        "a race of no futures never ends: look whether there are any before"
    );
    Race {
        futures,
        others: None,
    }
}

/// Returned by [`race`].
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct Race<F: Future> {
    /// All of them, if they are tasks; other futures until the first poll.
    futures: Vec<F>,
    others: Option<Together<F>>,
}

impl<T> Race<Task<T>> {
    /// Blocks until the first has ended.
    ///
    /// # Errors
    /// The winner's. On an event-loop thread it never blocks: if none has ended,
    /// [`TaskError::WouldBlock`], and all are detached.
    pub fn wait(self) -> Result<T, TaskError> {
        block_on(self).unwrap_or(Err(TaskError::WouldBlock))
    }
}

impl<F: Future> Future for Race<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(tasks) = as_tasks(&mut this.futures) else {
            let others = Together::begun(&mut this.others, &mut this.futures);
            let Some((_, output)) = ready!(others.poll_next(cx)) else {
                return Poll::Pending; // polled again after its end
            };
            this.others = None;
            return Poll::Ready(output);
        };
        if tasks.is_empty() {
            return closed::<F>().map_or(Poll::Pending, Poll::Ready);
        }
        let has_ended =
            |task: &mut AnyTask| task.cell().is_finished() || !task.register(cx.waker().clone());
        let Some(winner) = tasks.iter_mut().position(has_ended) else {
            return Poll::Pending;
        };
        let mut losers = std::mem::take(&mut this.futures);
        let output = output_of(losers.remove(winner));
        cancel_all(losers);
        Poll::Ready(output)
    }
}

// Where a future stands is left alone once it is polled.
impl<F: Future> Unpin for Race<F> {}

debug!(impl<F: Future> Race<F>, self, of = self.futures.len());
