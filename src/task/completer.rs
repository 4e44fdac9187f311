//! The promise side: a task that is completed from outside.
//!
//! A [`Completer`] is the producer's half of a task that no executor runs: the reply of a worker
//! process, a callback API of another library. It uses the same cell as every other task, with `()`
//! as the work. Instead of an executor's half it has a [`PromiseSource`], which learns of a
//! cancellation. Code that awaits the cancellation awaits the task's token.
//!
//! Completing and cancelling race for `RUNNING` (T1); the winner writes the output. So a cancelled
//! promise has ended before `cancel` returns, and a result that its producer delivers later is
//! dropped.
//!
//! What an end does, or a drop without one: `task/raw/promise.rs`.

use super::error::TaskError;
use super::id::TaskId;
use super::raw::{Completer, PromiseSource, Task, TaskRef, cell};
use super::unobserved::{Hook, TaskReport};

/// The producer of [`Completer::new`], where only code that awaits its token learns of the
/// cancellation, and of a task that was made with its result.
impl PromiseSource for () {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        None
    }
}

impl<T: Send + 'static> Completer<T> {
    /// Makes a completer and the task that it completes.
    #[track_caller]
    #[doc(alias("oneshot", "promise"))]
    pub fn new() -> (Self, Task<T>) {
        cell::promise(())
    }
}

impl<T> Completer<T> {
    /// Whether the task was cancelled, so that the result is no longer wanted.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell().is_cancelled()
    }

    /// Waits until the task is cancelled, which may never happen.
    ///
    /// Cancel safe: dropping it only removes its waker.
    pub async fn cancelled(&self) {
        self.cell().token().cancelled().await;
    }

    /// The id of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.cell().id()
    }

    /// If the task was detached and not cancelled, so that nobody learns how it ends: what a report
    /// of that needs.
    pub(crate) fn lost(&self) -> Option<TaskReport> {
        let cell = self.cell();
        let is_lost = cell.is_settled() && !cell.is_cancelled();
        is_lost.then(|| cell.report_of(TaskError::Cancelled))
    }

    /// See [`PromiseSource::let_go`].
    pub(super) fn let_go(&self) {
        self.cell().producer().let_go();
    }

    /// Runs `f` as the task's own code: inside it, the task is the current one, and
    /// `CancelToken::current()` its token. For a call in a worker process.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        self.cell().run_inside(f)
    }

    /// Whether code inside [`run`](Self::run) has taken its token.
    #[inline]
    pub(crate) fn has_token(&self) -> bool {
        self.cell()
            .extras()
            .is_some_and(|extras| extras.token.get().is_some())
    }

    /// Sets the report of a failure that is never taken. Must come before the promise can be
    /// completed.
    pub(crate) fn set_hook(&self, hook: &Hook) {
        self.cell().set_hook(hook.clone());
    }
}

impl<T> Task<T> {
    /// A task that has already ended, with `value`.
    ///
    /// ```
    /// assert_eq!(trefoil::Task::ready(7).join().unwrap(), 7);
    /// ```
    #[track_caller]
    pub fn ready(value: T) -> Self {
        cell::ready(value)
    }
}

debug!(impl<T> Completer<T>, self, id = self.id());
