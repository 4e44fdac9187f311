//! Waiting for every task of a list, as long as all goes well.
//!
//! Results are taken in the order of completion, so the first failure in time,
//! wherever it stands in the list, ends the wait at once and cancels the rest.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::helper::contain;
use crate::sync::block_on;
use crate::task::error::TaskError;
use crate::task::handle::{Task, cancel_all};
use crate::task::raw::Ready;

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
/// Dropping it half-way detaches the tasks that have not ended; the values that it has
/// collected are dropped with it.
pub fn try_join_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> TryJoinAll<T> {
    let mut tasks: Vec<_> = tasks.into_iter().map(Slot::Waiting).collect();
    let mut ready = Ready::new(tasks.len());
    let mut ended = VecDeque::new();
    for (key, slot) in tasks.iter_mut().enumerate() {
        if let Slot::Waiting(task) = slot
            && !task.register(ready.waker(key))
        {
            ended.push_back(key);
        }
    }
    TryJoinAll {
        left: tasks.len(),
        slots: tasks,
        ready,
        ended,
    }
}

enum Slot<T> {
    Waiting(Task<T>),
    Value(T),
}

/// What [`try_join_all`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct TryJoinAll<T> {
    slots: Vec<Slot<T>>,
    ready: Ready,
    ended: VecDeque<usize>,
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
            self.cancel_rest();
            Err(TaskError::WouldBlock)
        })
    }

    fn cancel_rest(&mut self) {
        self.left = 0;
        let (mut waiting, mut values) = (Vec::new(), Vec::new());
        for slot in std::mem::take(&mut self.slots) {
            match slot {
                Slot::Waiting(task) => waiting.push(task),
                Slot::Value(value) => values.push(value),
            }
        }
        cancel_all(waiting);
        for value in values {
            contain(|| drop(value));
        }
    }
}

impl<T> Future for TryJoinAll<T> {
    type Output = Result<Vec<T>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while this.left > 0 {
            this.ready.drain(&mut this.ended);
            let Some(key) = this.ended.pop_front() else {
                if this.ready.register(cx.waker()) {
                    continue;
                }
                return Poll::Pending;
            };
            let Slot::Waiting(task) = &mut this.slots[key] else {
                continue;
            };
            match task.try_join() {
                Some(Ok(value)) => {
                    this.slots[key] = Slot::Value(value);
                    this.left -= 1;
                }
                Some(Err(error)) => {
                    this.cancel_rest();
                    return Poll::Ready(Err(error));
                }
                None => {}
            }
        }
        let values = std::mem::take(&mut this.slots)
            .into_iter()
            .filter_map(|slot| match slot {
                Slot::Value(value) => Some(value),
                Slot::Waiting(_) => None,
            });
        Poll::Ready(Ok(values.collect()))
    }
}

// Nothing in it is pinned.
impl<T> Unpin for TryJoinAll<T> {}

impl<T> fmt::Debug for TryJoinAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryJoinAll")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
