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
use std::panic::Location;
use std::task::{Poll, Waker};

use super::panic::contain;
use super::raw::{self, Promise, Ref, current};
use super::runnable::TaskRef;
use super::traced::Birth;
use super::unobserved::Hook;
use super::{Task, TaskError, TaskId};
use crate::loom::Mutex;

/// The producer's half of a promise.
pub(crate) trait OnCancel: Send + Sync + 'static {
    /// The task was cancelled and has ended; called once, on the canceller's
    /// thread. Must be short.
    fn on_cancel(&self, id: TaskId);

    /// What the hook holds is not needed any more.
    fn let_go(&self) {}

    /// Who keeps the promise.
    fn origin(&self) -> Origin {
        Origin::Anybody
    }

    /// An executor's work ends the task, in the process that made it: its own, or that of the task which it
    /// comes from. Takes no lock: a forked child asks, where locks may be held for ever.
    fn is_executors(&self) -> bool {
        false
    }

    /// A thread is about to block until the task is `done`, and may do something for it. Must be
    /// short, unless it is `patient`: then it waits without a limit, and what is its own may take long.
    fn help(&self, patient: bool, done: &dyn Fn() -> bool) {
        let _ = (patient, done);
    }

    /// Where [`Completer::cancelled`] leaves its waker.
    fn waiting(&self) -> Option<&Waiting> {
        None
    }
}

/// From where the end of a task will come.
#[derive(Debug)]
pub(crate) enum Origin {
    /// From an executor, which runs it.
    Work,
    /// From the end of another task.
    Task(TaskRef),
    /// From whoever has the completer.
    Anybody,
}

/// The wakers of those who await `cancelled()`, by numbers that grow: mostly one.
pub(crate) type Waiting = Mutex<Vec<(usize, Waker)>>;

/// The hook of a [`Completer::new`]: wakes whoever awaits `cancelled()`.
struct WakeOnCancel(Waiting);

impl OnCancel for WakeOnCancel {
    fn on_cancel(&self, _: TaskId) {
        let wakers = std::mem::take(&mut *self.0.lock());
        for (_, waker) in wakers {
            contain(|| waker.wake()); // the others count on us
        }
    }

    fn waiting(&self) -> Option<&Waiting> {
        Some(&self.0)
    }
}

/// The place of one who awaits `cancelled()`, given back when it is dropped.
struct Place<'a> {
    waiting: &'a Waiting,
    number: Option<usize>,
}

impl Place<'_> {
    /// Leaves `waker`, in place of the one left before.
    fn leave(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let replaced = {
            let mut waiting = self.waiting.lock();
            let own = waiting
                .iter_mut()
                .find(|(number, _)| self.number == Some(*number));
            if let Some((_, own)) = own {
                Some(std::mem::replace(own, waker))
            } else {
                let number = waiting.last().map_or(0, |(last, _)| last + 1);
                self.number = Some(number);
                waiting.push((number, waker));
                None
            }
        };
        drop(replaced);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(own) = self.number else { return };
        // After a cancellation the list is another one, whose owners look once more in any case.
        let left = {
            let mut waiting = self.waiting.lock();
            let place = waiting.iter().position(|(number, _)| *number == own);
            place.map(|place| waiting.remove(place))
        };
        drop(left);
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
    promise: Option<Promise<T>>,
}

impl<T: Send + 'static> Completer<T> {
    /// A completer and the task that it completes.
    #[track_caller]
    pub fn new() -> (Self, Task<T>) {
        promise(WakeOnCancel(Mutex::new(Vec::new())))
    }
}

/// A promise whose cancellation `hook` hears of.
#[track_caller]
pub(crate) fn promise<T, H>(hook: H) -> (Completer<T>, Task<T>)
where
    T: Send + 'static,
    H: OnCancel,
{
    let (promise, handle) = raw::allocate_promise(hook, Birth::at(Location::caller()));
    let completer = Completer {
        promise: Some(promise),
    };
    (completer, Task::from_handle(handle))
}

impl<T> Completer<T> {
    /// Ends the task in `result` and wakes whoever waits for it. If the task was
    /// cancelled before, `result` is dropped.
    pub fn complete(mut self, result: Result<T, TaskError>) {
        if let Some(promise) = self.promise.take() {
            promise.complete(result);
        }
    }

    /// The task was cancelled: nobody wants the result any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cell().header().is_cancelled()
    }

    /// Waits until the task is cancelled; for ever, if it never is.
    ///
    /// Cancel safe: dropping it takes its waker back, and that is all.
    pub async fn cancelled(&self) {
        let mut place = self.cell().hook().waiting().map(|waiting| Place {
            waiting,
            number: None,
        });
        poll_fn(|cx| {
            // Register, then look: a cancellation after the look wakes us.
            if let Some(place) = &mut place {
                place.leave(cx.waker());
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

    /// Has the hook give up what it holds.
    pub(super) fn let_go(&self) {
        self.cell().hook().let_go();
    }

    /// Runs `f` as the task's own code: inside of it the task is the one that runs here, and
    /// `CancelToken::current()` its token. For a call in a worker process.
    pub(crate) fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        current::run(self.cell(), f)
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
        self.promise
            .as_ref()
            .unwrap_or_else(|| unreachable!("a completer has its cell until it is consumed"))
            .cell()
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            promise.complete(Err(TaskError::Closed));
        }
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Completer").field(&self.id()).finish()
    }
}
