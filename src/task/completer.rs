//! The promise side: a task that is completed from outside.
//!
//! A [`Completer`] is the producer's half of a task that no executor runs: the
//! reply of a worker process, a callback API of another library. It is the same
//! cell as every other task's, with `()` for work; where an executor's half
//! would be lies a hook that hears of a cancellation ([`OnCancel`]). Code that awaits the cancellation awaits the task's token.
//!
//! Completing and cancelling race for `RUNNING` (T1); the winner writes the
//! output. So a cancelled promise has ended before `cancel` returns, and what its
//! producer still delivers is dropped.

use std::fmt;

use super::id::TaskId;
use super::raw::{Completer, OnCancel, Task, cell};
use super::unobserved::Hook;

/// The cancellation of a [`Completer::new`] is told to what awaits its token alone.
impl OnCancel for () {
    fn on_cancel(&self, _: TaskId) {}
}

impl<T: Send + 'static> Completer<T> {
    /// A completer and the task that it completes.
    #[track_caller]
    pub fn new() -> (Self, Task<T>) {
        cell::promise(())
    }
}

impl<T> Completer<T> {
    /// The task was cancelled: the result is not wanted any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell().is_cancelled()
    }

    /// Waits until the task is cancelled; for ever, if it never is.
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

    /// Has the hook give up what it holds.
    pub(super) fn let_go(&self) {
        self.cell().hook().let_go();
    }

    /// Runs `f` as the task's own code: inside of it the task is the one that runs here, and
    /// `CancelToken::current()` its token. For a call in a worker process.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        self.cell().run_inside(f)
    }

    /// Code that ran inside [`run`](Self::run) has asked for its token.
    #[inline]
    pub(crate) fn has_token(&self) -> bool {
        self.cell()
            .side()
            .is_some_and(|side| side.token.get().is_some())
    }

    /// What is known of the failure in which it ends next, beside the error.
    pub(crate) fn note(&self, text: String) {
        let _first = self.cell().side_or_make().note.set(text.into());
    }

    /// What is told of a failure that is never taken. Before the promise can be completed.
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

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completer").field(&self.id()).finish()
    }
}
