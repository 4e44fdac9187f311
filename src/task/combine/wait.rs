//! Waits for some tasks of a list, and returns the tasks themselves.
//!
//! As `concurrent.futures.wait` and `asyncio.wait` do, it returns two lists of tasks: those that
//! have ended (their results are still in them) and those that have not. Nothing is cancelled,
//! nothing is lost.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{IntoTask, are_stuck, into_tasks};
use crate::parking::block_on_tasks;
use crate::task::error::TaskError;
use crate::task::raw::{ReadyQueue, Task};
use crate::timer::Alarm;

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Until {
    /// Until one has ended, with a value or an error.
    First,
    /// Until one has failed, or all have ended. A cancelled task has ended and not failed, as in
    /// Python. A task whose result was taken before has failed, in [`TaskError::Closed`].
    FirstError,
    /// Until all have ended.
    All,
}

/// Waits until the condition holds or the time is up, and returns the tasks: those that have ended,
/// and those that have not, each in their order.
///
/// `.await` it, or call [`join`](Wait::join) in blocking code.
///
/// ```
/// use std::time::Duration;
/// use trefoil::{Completer, Task, Until};
///
/// let (_never, slow) = Completer::new();
/// let (done, pending) = trefoil::wait([slow, Task::ready(7)], Until::First, None).join();
/// assert_eq!((done.len(), pending.len()), (1, 1));
/// let (done, pending) = trefoil::wait(pending, Until::All, Some(Duration::from_millis(5))).join();
/// assert_eq!((done.len(), pending.len()), (0, 1));
/// ```
///
/// # Cancel safety
/// Dropping it drops the tasks: they are detached, or cancelled if they are
/// [`cancel_on_drop`](Task::cancel_on_drop). To keep them, set a time limit instead.
pub fn wait<T>(
    tasks: impl IntoIterator<Item: IntoTask<T>>,
    until: Until,
    time: Option<Duration>,
) -> Wait<T> {
    let mut tasks = into_tasks(tasks);
    Wait {
        ready: ReadyQueue::of(&mut tasks),
        left: tasks.len(),
        tasks,
        until,
        alarm: time.map(Alarm::after),
    }
}

/// Returned by [`wait`].
///
/// ```
/// use trefoil::{Task, Until, wait};
///
/// let (done, pending) = trefoil::run(async { wait([Task::ready(7)], Until::All, None).await });
/// assert_eq!((done.len(), pending.len()), (1, 0));
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct Wait<T> {
    tasks: Vec<Task<T>>,
    ready: ReadyQueue,
    left: usize,
    until: Until,
    alarm: Option<Alarm>,
}

impl<T> Wait<T> {
    /// Blocks until the condition holds or the time is up. On an event-loop thread it returns at
    /// once; without a limit also once all that have not ended can only run on an event loop of
    /// this thread that is not running now.
    pub fn join(mut self) -> (Vec<Task<T>>, Vec<Task<T>>) {
        block_on_tasks(
            &mut self,
            |wait, cx| Pin::new(wait).poll(cx),
            |wait| wait.alarm.is_none() && are_stuck(wait.tasks.iter(), wait.left),
        )
        .unwrap_or_else(|| self.split())
    }

    fn split(&mut self) -> (Vec<Task<T>>, Vec<Task<T>>) {
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in &mut tasks {
            task.unregister();
        }
        tasks.into_iter().partition(Task::is_finished)
    }
}

impl<T> Future for Wait<T> {
    type Output = (Vec<Task<T>>, Vec<Task<T>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.left > 0 {
            let Poll::Ready(key) = this.ready.poll_next(cx) else {
                break;
            };
            this.left -= 1;
            let met = match this.until {
                Until::First => true,
                Until::FirstError => {
                    let error = this.tasks[key].error();
                    error.is_some_and(|error| !matches!(error, TaskError::Cancelled))
                }
                Until::All => false,
            };
            if met {
                this.left = 0;
            }
        }
        if this.left == 0 {
            return Poll::Ready(this.split());
        }
        match &mut this.alarm {
            Some(alarm) => alarm.poll_elapsed(cx).map(|()| this.split()),
            None => Poll::Pending,
        }
    }
}

debug!(impl<T> Wait<T>, self, until = self.until, left = self.left);
