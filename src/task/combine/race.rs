//! Waiting for the first task of a list.
//!
//! Each task gets the waker of the waiting task, so the first to end wakes it. It then searches for
//! the winner from the front. So every task is checked twice: to register, and to find the winner.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{IntoTask, are_stuck, into_tasks};
use crate::parking::block_on_tasks;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::Task;

/// Waits for the first of `tasks` to end, cancels the others, and returns its result, which may be
/// an error.
///
/// `.await` it, or call [`join`](Race::join) in blocking code. If several have ended, the first in
/// order wins. Without any tasks the result is [`TaskError::Closed`].
///
/// ```
/// let (_never, slow) = trefoil::Completer::<u32>::new();
/// let fast = trefoil::Task::ready(7);
/// assert_eq!(trefoil::race([slow, fast]).join().unwrap(), 7);
/// ```
///
/// For a few futures that are not tasks, of different types, there is [`select!`](crate::select!);
/// or spawn them: `race(futures.map(trefoil::spawn))`.
///
/// # Cancel safety
/// Dropping it before the end drops the tasks: they are detached, or cancelled if they are
/// [`cancel_on_drop`](Task::cancel_on_drop).
pub fn race<T>(tasks: impl IntoIterator<Item: IntoTask<T>>) -> Race<T> {
    Race {
        tasks: into_tasks(tasks),
    }
}

/// Returned by [`race`].
///
/// ```
/// let first = trefoil::run(async { trefoil::race([trefoil::Task::ready(1)]).await });
/// assert_eq!(first.unwrap(), 1);
/// ```
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct Race<T> {
    tasks: Vec<Task<T>>,
}

impl<T> Race<T> {
    /// Blocks until the first has ended.
    ///
    /// # Errors
    /// That of the winner. On an event-loop thread it never blocks: if no task has ended, the
    /// result is [`TaskError::WouldBlock`], and all tasks are dropped. Also if all tasks can only
    /// run on an event loop of this thread that is not running now.
    pub fn join(mut self) -> Result<T, TaskError> {
        block_on_tasks(&mut self, Self::poll_winner, |race| {
            are_stuck(race.tasks.iter(), race.tasks.len())
        })
        .unwrap_or(Err(TaskError::WouldBlock))
        .and_then(Task::join)
    }

    /// The first task that has ended. (Its result stays in it until its user gets it: each step
    /// that it is passed through may copy it.)
    fn poll_winner(&mut self, cx: &mut Context<'_>) -> Poll<Result<Task<T>, TaskError>> {
        if self.tasks.is_empty() {
            return Poll::Ready(Err(TaskError::Closed));
        }
        let has_ended =
            |task: &mut Task<T>| task.is_finished() || !task.register(cx.waker().clone());
        let Some(winner) = self.tasks.iter_mut().position(has_ended) else {
            return Poll::Pending;
        };
        let mut losers = std::mem::take(&mut self.tasks);
        let winner = losers.remove(winner);
        cancel_all(losers);
        Poll::Ready(Ok(winner))
    }
}

impl<T> Future for Race<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(self.poll_winner(cx)).and_then(Task::join))
    }
}

debug!(impl<T> Race<T>, self, of = self.tasks.len());
