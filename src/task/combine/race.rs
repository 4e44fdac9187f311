//! Waiting for the first task of a list.
//!
//! Each task gets the racer's own waker, so whichever ends wakes it; it then looks
//! for the winner from the front. Two looks at every task in all: one to
//! register, one to find the winner.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::handle::cancel_all;
use crate::task::raw::Task;

/// Waits for the first of `tasks` to end, well or badly, and gives its result; the
/// others are cancelled.
///
/// `.await` it, or call [`wait`](Race::wait) in blocking code. Of several that have
/// ended, the first in order wins. Without any tasks: [`TaskError::Closed`].
///
/// ```
/// let (_never, slow) = trefoil::Completer::<u32>::new();
/// let fast = trefoil::Task::ready(7);
/// assert_eq!(trefoil::race([slow, fast]).wait().unwrap(), 7);
/// ```
///
/// # Cancel safety
/// Dropping it before the end detaches all tasks; no result is lost that could have
/// been taken.
pub fn race<T>(tasks: impl IntoIterator<Item = Task<T>>) -> Race<T> {
    Race {
        tasks: tasks.into_iter().collect(),
    }
}

/// What [`race`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct Race<T> {
    tasks: Vec<Task<T>>,
}

impl<T> Race<T> {
    /// Blocks until the first has ended.
    ///
    /// # Errors
    /// The winner's. On an event-loop thread it never blocks: if none has ended,
    /// [`TaskError::WouldBlock`], and all are detached.
    pub fn wait(self) -> Result<T, TaskError> {
        block_on(self).unwrap_or(Err(TaskError::WouldBlock))
    }
}

impl<T> Future for Race<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.tasks.is_empty() {
            return Poll::Ready(Err(TaskError::Closed));
        }
        let winner = self.tasks.iter_mut().enumerate().find_map(|(index, task)| {
            match Pin::new(task).poll(cx) {
                Poll::Ready(result) => Some((index, result)),
                Poll::Pending => None,
            }
        });
        let Some((winner, result)) = winner else {
            return Poll::Pending;
        };
        let mut losers = std::mem::take(&mut self.tasks);
        drop(losers.remove(winner)); // its result is taken
        cancel_all(losers);
        Poll::Ready(result)
    }
}

impl<T> fmt::Debug for Race<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("tasks", &self.tasks).finish()
    }
}
