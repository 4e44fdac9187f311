//! The consumer's side of a task: [`Task`].
//!
//! Everything here is safe code over `raw/consumer.rs`, which enforces which thread may access
//! what. A blocking wait does the first of these that applies:
//!
//! 1. The task has ended: take the output, on any thread.
//! 2. This thread must not block (it is an event loop's): `WouldBlock`.
//! 3. The task waits for itself: `WouldBlock`, because no other thread could ever end it.
//!    (An `.await` is not checked: it never ends, and `inspect` reports it.)
//! 4. The task is a queued closure or future that may be claimed, and at least half of this
//!    thread's stack is free: run it, or poll it, here. (So a pool of one thread can wait for its
//!    own tasks, and no unrelated work ever runs under the waiter's locks.)
//! 5. The task runs on another thread: spin for a microsecond or two ([`SPINS`]).
//! 6. Otherwise park; the consumer slot wakes this thread like every other waiter. A worker's pool
//!    is notified, so that another thread takes its place.

use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::context;
use super::error::TaskError;
use super::id::TaskId;
use super::late::Late;
#[cfg(feature = "inspect")]
use super::raw::list;
use super::raw::{Task, TaskRef, entered_task};
use super::traced;
use crate::events;
use crate::large::{is_large, unboxed};
use crate::loom::hint;
use crate::parking::park::{self, Waited};

/// How many times a waiter checks whether a task that runs elsewhere has ended, before it parks: a
/// microsecond or two.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

impl<T> Task<T> {
    /// Waits for the end, blocking this thread, and returns the result.
    ///
    /// If the task has ended, this returns at once, on any thread. If it is a queued closure of a
    /// pool, the waiting thread may run it itself.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// assert_eq!(pool.spawn(|| 6 * 7).join().unwrap(), 42);
    /// let error = pool.spawn(|| -> u32 { panic!("no luck") }).join().unwrap_err();
    /// assert!(error.to_string().contains("no luck"));
    /// ```
    ///
    /// # Errors
    /// The error that the task ended with. [`TaskError::WouldBlock`] on an event-loop thread if the
    /// task has not ended: the handle is then dropped. Also if a task joins itself, or if the task
    /// can only run on an event loop of this thread that is not running now. [`TaskError::Closed`]
    /// if its result was taken before, or if this process was forked before its executor, the
    /// parent's, had ended it.
    pub fn join(self) -> Result<T, TaskError> {
        let mut task = self;
        if const { is_large::<T>() } {
            return unboxed(task.as_boxed().join_stored());
        }
        task.join_stored()
    }

    /// Like [`join`](Self::join). `T` must not be large.
    fn join_stored(&mut self) -> Result<T, TaskError> {
        self.cell().will_end_here();
        self.take_stored().unwrap_or_else(|| self.wait(None))
    }

    /// Waits for the result, for at most `timeout`. The task stays usable.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{Completer, TaskError};
    ///
    /// let (completer, mut task) = Completer::new();
    /// let early = task.join_timeout(Duration::from_millis(1));
    /// assert!(matches!(early, Err(TaskError::TimedOut(_))));
    /// completer.complete(Ok(7));
    /// assert_eq!(task.join_timeout(Duration::from_secs(5)).unwrap(), 7);
    /// ```
    ///
    /// # Errors
    /// Those of `join`, and [`TaskError::TimedOut`] if the time is up, also if a task waits for
    /// itself: the task continues and can be waited for again. To distinguish a task that *ended*
    /// with `TimedOut` or `WouldBlock` from a wait that did, call [`try_join`](Task::try_join): it
    /// returns `Some(Err(Closed))` if the error was the task's own.
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<T, TaskError> {
        if const { is_large::<T>() } {
            return unboxed(self.as_boxed().join_stored_for(timeout));
        }
        self.join_stored_for(timeout)
    }

    /// Like [`join_timeout`](Self::join_timeout). `T` must not be large.
    fn join_stored_for(&mut self, timeout: Duration) -> Result<T, TaskError> {
        self.take_stored()
            .unwrap_or_else(|| self.wait(Some(timeout)))
    }

    /// The result, if the task has ended; never blocks. If the result was taken before, this
    /// returns `Some(Err(Closed))`.
    ///
    /// ```
    /// let (completer, mut task) = trefoil::Completer::new();
    /// assert!(task.try_join().is_none());
    /// completer.complete(Ok(7));
    /// assert_eq!(task.try_join().unwrap().unwrap(), 7);
    /// ```
    pub fn try_join(&mut self) -> Option<Result<T, TaskError>> {
        self.take()
    }

    /// Waits for the end of a task that had not ended a moment ago. `T` must not be large.
    fn wait(&mut self, limit: Option<Duration>) -> Result<T, TaskError> {
        // A deadline beyond the clock's range counts as none.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        if context::blocking_refused() {
            return Err(TaskError::WouldBlock);
        }
        // The task would wait for itself for ever.
        if deadline.is_none() && self.cell().needs_this_thread() {
            return Err(TaskError::WouldBlock);
        }
        // With a deadline, running the work here could exceed it, so this thread only parks.
        if deadline.is_none() {
            self.cell().run_here();
            if let Some(result) = self.take_stored() {
                return result;
            }
        }
        self.cell().help(deadline);
        self.spin();
        let mut noted = None;
        let waited = park::wait(deadline, |waker| {
            if deadline.is_none() {
                self.cell().stand_by(waker);
            }
            let waits = self.register(waker.clone());
            if waits && noted.is_none() && events::is_on() {
                let by = entered_task::id().map_or(0, TaskId::get);
                events::blocks(by, self.id().get(), deadline.is_some());
                noted = Some(by);
            }
            !waits
        });
        if let Some(by) = noted {
            events::unblocks(by, waited == Waited::Ready);
        }
        if deadline.is_none() {
            self.cell().step_back();
        }
        match waited {
            Waited::Ready => {}
            Waited::TimedOut | Waited::Refused => {
                self.unregister();
            }
        }
        match self.take_stored() {
            Some(result) => result,
            None if waited == Waited::Refused => Err(TaskError::WouldBlock),
            None => Err(TaskError::TimedOut(
                limit.map(Late::after).unwrap_or_default(),
            )),
        }
    }

    /// Runs the task here, if it is queued and this thread may run it; returns its result if it has
    /// ended.
    pub(crate) fn help(&mut self) -> Option<Result<T, TaskError>> {
        self.cell().run_here();
        self.try_join()
    }

    /// Waits a moment if another thread is running the task and may be about to end it: parking and
    /// waking cost more than most tasks.
    fn spin(&self) {
        for _ in 0..SPINS {
            if !self.cell().is_running() {
                break;
            }
            hint::spin_loop();
        }
    }

    /// Asks the task to end.
    ///
    /// Returns true if the task ends with [`TaskError::Cancelled`], whatever its code still
    /// does. A queued closure is dropped at once, a future at its next poll or suspension, on
    /// its executor; a call in a worker process is stopped. Returns false if the task has ended
    /// already, or if it is a running closure, which only its token can stop
    /// ([`CancelToken::current`](crate::CancelToken::current)); that token is set.
    ///
    /// If a destructor panics when the closure or future is dropped, the panic hook reports that;
    /// the task ends with `Cancelled` all the same, and the panic goes no further.
    ///
    /// ```
    /// use trefoil::{CancelToken, TaskError, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(1);
    /// let (begun, begins) = std::sync::mpsc::channel();
    /// let task = pool.spawn(move || {
    ///     begun.send(()).unwrap();
    ///     CancelToken::current().cancelled().join() // until somebody cancels this task
    /// });
    /// begins.recv().unwrap();
    /// assert!(!task.cancel(), "a closure that runs ends by itself: its token is set");
    /// assert!(task.join().unwrap().is_ok());
    ///
    /// let (_never, waiting) = trefoil::Completer::<u32>::new();
    /// assert!(waiting.cancel());
    /// assert!(matches!(waiting.join(), Err(TaskError::Cancelled)));
    /// ```
    pub fn cancel(&self) -> bool {
        self.cell().cancel()
    }

    /// Whether the task has ended, so that the next `join`, `try_join` or `.await` returns its
    /// result at once.
    ///
    /// ```
    /// let (completer, task) = trefoil::Completer::new();
    /// assert!(!task.is_finished());
    /// completer.complete(Ok(7));
    /// assert!(task.is_finished());
    /// assert_eq!(task.join().unwrap(), 7);
    /// ```
    #[inline]
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.cell().is_finished()
    }

    /// The number of this task, which no other task of the process has.
    ///
    /// ```
    /// let (first, second) = (trefoil::Task::ready(1), trefoil::Task::ready(2));
    /// assert_ne!(first.id(), second.id());
    /// ```
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.cell().id()
    }

    /// Where the task was spawned.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let task = pool.spawn(|| 1); // the line that a report of its failure would name
    /// assert!(task.spawned_at().file().ends_with(".rs"));
    /// ```
    #[must_use]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.cell().spawned_at()
    }

    /// Gives the task a name, which appears in its `Debug` form and in the report of a failure that
    /// is never taken (see [`on_unobserved`](crate::on_unobserved)). The first name stays.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let task = pool.spawn(|| 6 * 7).named("answer");
    /// assert_eq!(task.name(), Some("answer"));
    /// assert_eq!(task.join().unwrap(), 42);
    /// ```
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = name.into().into_boxed_str();
        let extras = self.cell().extras_or_make();
        let first = extras.name.get_or_init(|| name);
        events::named(self.id().get(), first);
        traced::named(extras, first);
        self
    }

    /// The task's name, if it has one.
    ///
    /// ```
    /// let task = trefoil::Task::ready(1);
    /// assert_eq!(task.name(), None);
    /// assert_eq!(task.named("one").name(), Some("one"));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.cell().name()
    }

    /// The task that spawned this one, if a task did.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let inner = pool.clone();
    /// let outer = pool.spawn(move || inner.spawn(|| ()).parent());
    /// let id = outer.id();
    /// assert_eq!(outer.join().unwrap(), Some(id));
    /// ```
    #[must_use]
    pub fn parent(&self) -> Option<TaskId> {
        self.cell().parent()
    }

    /// Lets the task continue without a handle. Dropping the handle does the same, unless the task
    /// was made [`cancel_on_drop`](Task::cancel_on_drop); this is explicit.
    ///
    /// It continues for as long as its executor does. A dropped [`ThreadPool`](crate::ThreadPool)
    /// runs everything that was spawned before its threads end, except that a future of
    /// [`spawn_async`](crate::ThreadPool::spawn_async) that still waits then ends in
    /// [`Closed`](TaskError::Closed). (The program does not wait for the global pool, nor for one
    /// that was [detached](crate::ThreadPool::detach): their tasks end with `main`.) A dropped
    /// [`ProcessPool`](crate::ProcessPool) cancels what has not begun, and after a second what
    /// still runs, and reports that ([`on_unobserved`](crate::on_unobserved)), but not of what
    /// [`map`](Task::map) or [`flatten`](Task::flatten) has returned. At the end of its loop a task
    /// is cancelled, and nothing is reported.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// pool.spawn(move || sender.send("done").unwrap()).detach();
    /// assert_eq!(receiver.recv().unwrap(), "done");
    /// ```
    pub fn detach(self) {
        self.tie(false);
    }

    /// A handle that cancels the task from elsewhere, while this one waits for it or has been moved
    /// away: `Clone`, `Send` and `Sync`, whatever the result type.
    ///
    /// ```
    /// use trefoil::{Completer, TaskError};
    ///
    /// let (_never, task) = Completer::<u32>::new();
    /// let abort = task.abort_handle();
    /// std::thread::spawn(move || abort.cancel());
    /// assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    /// ```
    ///
    /// It does not own the task: dropping it does nothing, and a failure is reported even while it
    /// exists. It only keeps the task's memory.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        if events::is_on() {
            events::abortable(self.id().get());
        }
        AbortHandle {
            task: self.task_ref(),
        }
    }

    /// Ties the task to the handle: dropping the returned value cancels the task. It can be awaited
    /// and joined in the same way, and given to what takes tasks: dropping a `join_all` of such
    /// tasks, say, cancels them.
    ///
    /// ```
    /// let (completer, task) = trefoil::Completer::<u32>::new();
    /// drop(task.cancel_on_drop());
    /// assert!(completer.is_cancelled());
    /// ```
    pub fn cancel_on_drop(self) -> CancelOnDrop<T> {
        self.tie(true);
        CancelOnDrop { task: self }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if const { is_large::<T>() } {
            return match self.as_boxed().poll_stored(cx) {
                Poll::Ready(Ok(value)) => Poll::Ready(Ok(*value)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
        }
        self.poll_stored(cx)
    }
}

impl<T> Task<T> {
    /// Like [`poll`](Future::poll). `T` must not be large.
    #[inline]
    fn poll_stored(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, TaskError>> {
        if let Some(result) = self.take_stored() {
            return Poll::Ready(result);
        }
        if self.register(cx.waker().clone()) {
            Poll::Pending
        } else {
            self.take_stored().map_or(Poll::Pending, Poll::Ready)
        }
    }
}

// The output is in the cell, not in the handle, so the handle may be moved.
impl<T> Unpin for Task<T> {}
// A panic cannot leave a cell half-changed: its transitions are single steps.
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Task");
        debug.field("id", &self.id());
        if let Some(name) = self.name() {
            debug.field("name", &name);
        }
        debug
            .field("state", self.cell().shown())
            .field("spawned_at", &format_args!("{}", self.spawned_at()))
            .finish()
    }
}

/// Cancels a task, and knows whether it has ended, without owning it; see [`Task::abort_handle`].
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let task = pool.spawn(|| trefoil::CancelToken::current().cancelled().join());
/// let handle = task.abort_handle(); // may be cloned, and sent to another thread
/// handle.cancel();
/// assert!(task.join().is_err() || handle.is_finished()); // it had not begun, or it looked
/// ```
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
}

impl AbortHandle {
    /// Cancels the task: see [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Whether the task has ended: see [`Task::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The id of the task: see [`Task::id`].
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

/// Keeps a list of tasks from its first call on, and returns the one with this [`TaskId`], or this
/// number, if it has not ended: to cancel what [`tasks`](crate::inspect::tasks) shows.
///
/// It keeps track of tasks, too, as `tasks` does: from the first call on each new task costs some
/// 50 ns more, and a little memory. (Until then, nothing.) Tasks that are older are not
/// found, nor is the future of [`block_on`](crate::EventLoop::block_on), nor more than 262,144
/// tasks at a time. The list keeps no task alive, and no task's memory.
///
/// Dropping what is cancelled may run its destructors, on the calling thread. As after `tasks`,
/// deadlocks are reported on standard error, unless there is a hook for that.
///
/// ```
/// assert!(trefoil::inspect::find_task(0_u64).is_none()); // from now on, tasks are listed
///
/// let (_never, task) = trefoil::Completer::<u32>::new();
/// let found = trefoil::inspect::find_task(task.id()).unwrap();
/// assert!(found.cancel());
/// assert!(trefoil::inspect::find_task(task.id()).is_none());
/// assert!(matches!(task.join(), Err(trefoil::TaskError::Cancelled)));
/// ```
#[cfg(feature = "inspect")]
#[must_use]
pub fn find_task(id: impl TryInto<TaskId>) -> Option<AbortHandle> {
    let number = id.try_into().map_or(0, TaskId::get);
    list::find(number).map(|task| AbortHandle { task })
}

debug!(
    impl AbortHandle,
    self,
    id = self.id(),
    state = *self.task.shown()
);

/// Cancels the tasks, and then drops them. If the destructor of an ended task's result panics, the
/// panic hook reports that, and the panic is caught.
pub(crate) fn cancel_all<T>(tasks: Vec<Task<T>>) {
    cancel_each(tasks.iter().map(Task::task_ref).collect());
}

/// Cancels these tasks.
pub(crate) fn cancel_each(tasks: Vec<TaskRef>) {
    // Running tasks are cancelled last: otherwise their worker could begin another one first.
    let (running, others): (Vec<_>, Vec<_>) = tasks.into_iter().partition(TaskRef::is_running);
    for task in others.iter().chain(&running) {
        task.cancel();
    }
}

/// A task that is cancelled when this is dropped; see [`Task::cancel_on_drop`].
///
/// ```
/// let (completer, task) = trefoil::Completer::<u32>::new();
/// drop(task.cancel_on_drop());
/// assert!(completer.is_cancelled());
/// ```
///
/// As a [`Task`] (`Task::from`), it is still cancelled when it is dropped, until
/// [`detach`](Task::detach).
#[must_use = "dropping it cancels the task"]
pub struct CancelOnDrop<T> {
    task: Task<T>,
}

impl<T> CancelOnDrop<T> {
    /// Joins the task; if the wait is refused, the task is cancelled.
    ///
    /// # Errors
    /// See [`Task::join`].
    pub fn join(self) -> Result<T, TaskError> {
        self.task.join()
    }

    /// Joins the task with a limit: see [`Task::join_timeout`].
    ///
    /// # Errors
    /// See [`Task::join_timeout`].
    pub fn join_timeout(&mut self, timeout: Duration) -> Result<T, TaskError> {
        self.task.join_timeout(timeout)
    }

    /// Joins the task if it has ended: see [`Task::try_join`].
    pub fn try_join(&mut self) -> Option<Result<T, TaskError>> {
        self.task.try_join()
    }

    /// Cancels the task: see [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Whether the task has ended: see [`Task::is_finished`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The id of the task: see [`Task::id`].
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl<T> Future for CancelOnDrop<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(cx)
    }
}

impl<T> From<CancelOnDrop<T>> for Task<T> {
    fn from(tied: CancelOnDrop<T>) -> Self {
        tied.task
    }
}

debug!(impl<T> CancelOnDrop<T>, self, task = self.task);
