//! The promise side: a task that somebody completes from outside.
//!
//! A [`Completer`] is the producer's half of a task that no executor runs: the
//! reply of a worker process, a callback API of somebody else's. It is the same
//! cell as every other task's, with `()` for work; where an executor's half
//! would be lies a hook that hears of a cancellation ([`OnCancel`]).
//!
//! Completing and cancelling race for `RUNNING` (T1); the winner writes the
//! output. So a cancelled promise has ended before `cancel` returns, and what its
//! producer still delivers is dropped.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::Location;
use std::task::{Poll, Waker};

use super::raw::{self, Handle, Ref, current};
use super::unobserved::Hook;
use super::{Task, TaskError, TaskId};
use crate::loom::Mutex;

/// The producer's half of a promise.
pub(crate) trait OnCancel: Send + Sync + 'static {
    /// The task was cancelled and has ended; called once, on the canceller's
    /// thread. Must be short.
    fn on_cancel(&self, id: TaskId);

    /// Where [`Completer::cancelled`] leaves its waker.
    fn waker(&self) -> Option<&Mutex<Option<Waker>>> {
        None
    }
}

/// The hook of a [`Completer::new`]: wakes whoever awaits `cancelled()`.
struct WakeOnCancel(Mutex<Option<Waker>>);

impl OnCancel for WakeOnCancel {
    fn on_cancel(&self, _: TaskId) {
        let waker = self.0.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> Option<&Mutex<Option<Waker>>> {
        Some(&self.0)
    }
}

/// Completes a [`Task`] by hand: the bridge from any callback API.
///
/// Dropping it without completing ends the task in
/// [`TaskError::Closed`]. One allocation makes both halves.
///
/// ```
/// use trefoil::{Completer, Task};
///
/// fn ask(question: &'static str) -> Task<usize> {
///     let (completer, task) = Completer::new();
///     std::thread::spawn(move || completer.complete(Ok(question.len())));
///     task
/// }
/// assert_eq!(ask("how long is this?").join().unwrap(), 17);
/// ```
#[must_use = "a dropped completer ends its task in `Closed`"]
pub struct Completer<T> {
    cell: Option<Ref>,
    _input: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Completer<T> {
    /// A completer and the task that it completes.
    #[track_caller]
    pub fn new() -> (Self, Task<T>) {
        promise(WakeOnCancel(Mutex::new(None)))
    }
}

/// A promise whose cancellation `hook` hears of.
#[track_caller]
pub(crate) fn promise<T, H>(hook: H) -> (Completer<T>, Task<T>)
where
    T: Send + 'static,
    H: OnCancel,
{
    let cell = raw::allocate_promise::<T, H>(hook, Location::caller());
    let completer = Completer {
        cell: Some(Ref::from_raw(cell)),
        _input: PhantomData,
    };
    (completer, Task::from_handle(Handle::from_raw(cell)))
}

impl<T> Completer<T> {
    /// Ends the task in `result` and wakes whoever waits for it. If the task was
    /// cancelled before, `result` is dropped.
    pub fn complete(mut self, result: Result<T, TaskError>) {
        if let Some(cell) = self.cell.take() {
            cell.complete(result);
        }
    }

    /// The task was cancelled: nobody wants the result any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell().header().state.is_cancelled()
    }

    /// Waits until the task is cancelled; for ever, if it never is.
    ///
    /// Cancel safe: it holds nothing but a registered waker. Only the last of
    /// several concurrent calls is woken.
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            if let Some(slot) = self.cell().hook().waker() {
                // Register, then look: a cancellation after the look wakes us.
                let before = slot.lock().replace(cx.waker().clone());
                drop(before);
            }
            if self.is_cancelled() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// The id of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.cell().header().id
    }

    /// Runs `f` as the task's own code: inside of it the task is the one that runs here, and
    /// `CancelToken::current()` its token. For a call in a worker process.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let _entered = current::enter(self.cell());
        f()
    }

    /// Code that ran inside [`run`](Self::run) has asked for its token.
    #[inline]
    pub(crate) fn has_token(&self) -> bool {
        self.cell()
            .header()
            .side()
            .is_some_and(|side| side.token.get().is_some())
    }

    /// Whom to tell of a failure that nobody takes. Before anybody can complete it.
    pub(crate) fn set_hook(&self, hook: &Hook) {
        let _first = self.cell().header().side_or_make().hook.set(hook.clone());
    }

    fn cell(&self) -> &Ref {
        self.cell
            .as_ref()
            .unwrap_or_else(|| unreachable!("a completer has its cell until it is consumed"))
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.complete::<T>(Err(TaskError::Closed));
        }
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completer").field(&self.id()).finish()
    }
}
