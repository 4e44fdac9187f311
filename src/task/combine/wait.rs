//! Waiting for some of a list, and getting the tasks themselves back.
//!
//! As `concurrent.futures.wait` and `asyncio.wait`: the tasks come back in two
//! lists, those that have ended (their results still in them) and those that have
//! not; nothing is cancelled, nothing is lost.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::alarm::Alarm;
use crate::sync::block_on;
use crate::task::handle::Task;
use crate::task::raw::Ready;

/// What [`wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// Until one has ended, well or badly.
    First,
    /// Until one has failed, or all have ended. One that was cancelled has ended and not failed, as in Python.
    FirstError,
    /// Until all have ended.
    All,
}

/// Waits until the condition holds or the time is up, and gives the tasks back:
/// those that have ended, and those that have not, each in their order.
///
/// `.await` it, or call [`wait`](Wait::wait) in blocking code.
///
/// ```
/// use std::time::Duration;
/// use trefoil::{Completer, Task, Until};
///
/// let (_never, slow) = Completer::new();
/// let (done, pending) = trefoil::wait([slow, Task::ready(7)], Until::First, None).wait();
/// assert_eq!((done.len(), pending.len()), (1, 1));
/// let (done, pending) = trefoil::wait(pending, Until::All, Some(Duration::from_millis(5))).wait();
/// assert_eq!((done.len(), pending.len()), (0, 1));
/// ```
///
/// # Cancel safety
/// Dropping it detaches the tasks. To keep them, give it a time instead.
pub fn wait<T>(
    tasks: impl IntoIterator<Item = Task<T>>,
    until: Until,
    time: Option<Duration>,
) -> Wait<T> {
    let mut tasks: Vec<_> = tasks.into_iter().collect();
    let mut ready = Ready::new(tasks.len());
    let mut ended = VecDeque::new();
    for (key, task) in tasks.iter_mut().enumerate() {
        if !task.register(ready.waker(key)) {
            ended.push_back(key);
        }
    }
    let alarm = time.map(Alarm::after);
    Wait {
        left: tasks.len(),
        tasks,
        ready,
        ended,
        until,
        met: false,
        alarm,
    }
}

/// What [`wait`] returns.
#[must_use = "it waits only when awaited, or by `wait()`"]
pub struct Wait<T> {
    tasks: Vec<Task<T>>,
    ready: Ready,
    ended: VecDeque<usize>,
    left: usize,
    until: Until,
    /// The condition holds.
    met: bool,
    alarm: Option<Alarm>,
}

impl<T> Wait<T> {
    /// Blocks until the condition holds or the time is up. On an event-loop
    /// thread it returns at once, with what has ended.
    pub fn wait(mut self) -> (Vec<Task<T>>, Vec<Task<T>>) {
        block_on(&mut self).unwrap_or_else(|| self.split())
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
        loop {
            this.ready.drain(&mut this.ended);
            while let Some(key) = this.ended.pop_front() {
                this.left -= 1;
                this.met |= match this.until {
                    Until::First => true,
                    Until::FirstError => this.tasks[key].has_failed(),
                    Until::All => false,
                };
            }
            if this.met || this.left == 0 {
                return Poll::Ready(this.split());
            }
            if !this.ready.register(cx.waker()) {
                break;
            }
        }
        match &mut this.alarm {
            Some(alarm) => alarm.poll_elapsed(cx).map(|()| this.split()),
            None => Poll::Pending,
        }
    }
}

// Nothing in it is pinned.
impl<T> Unpin for Wait<T> {}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("until", &self.until)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
