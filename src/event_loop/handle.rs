//! Starts work on a loop from any thread.
//!
//! A [`LoopHandle`] keeps its loop neither running nor alive: a task that it starts after the loop
//! has ended ends in [`TaskError::Closed`].
//!
//! Tests: `tests/event_loop/handles.rs::{a_thread_waits_for_a_future_on_the_loop,
//! a_future_that_is_not_send_starts_from_outside}`,
//! `tests/event_loop/threads.rs::after_the_end_everything_is_closed`.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::entered_loop;
use super::shared::SharedLoop;
use super::stats::LoopStats;
use crate::events::Kind;
use crate::large::{BoxedCall, BoxedFuture, LocalBoxedFuture, is_large};
use crate::task::{self, Task, TaskError};
use crate::timer::{Alarm, later};

/// Starts work on an event loop, from any thread.
///
/// Cheap to clone. It does not keep the loop alive; tasks that are started after the loop has ended
/// end in [`TaskError::Closed`].
///
/// ```
/// use trefoil::LoopHandle;
///
/// let answer = trefoil::run(async {
///     let handle = LoopHandle::current();
///     let thread = std::thread::spawn(move || {
///         // Not on the loop's thread: here we may block.
///         handle.spawn(async { 6 * 7 }).join()
///     });
///     while !thread.is_finished() {
///         trefoil::yield_now().await;
///     }
///     thread.join().unwrap()
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[derive(Debug, Clone)]
pub struct LoopHandle {
    pub(super) shared: Arc<SharedLoop>,
}

impl LoopHandle {
    /// The loop that runs on this thread, or whose handle it has [entered](Self::enter).
    ///
    /// # Panics
    ///
    /// If there is none; see [`try_current`](Self::try_current).
    ///
    /// ```
    /// let handle = trefoil::run(async { trefoil::LoopHandle::current() });
    /// // That loop has ended:
    /// assert!(matches!(handle.spawn(async {}).join(), Err(trefoil::TaskError::Closed)));
    /// ```
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().expect(
            "LoopHandle::current() needs an event loop on this thread: call it inside \
             trefoil::run(..) or EventLoop::block_on(..), use EventLoop::handle(), or enter a \
             handle on this thread with LoopHandle::enter()",
        )
    }

    /// The loop that runs on this thread, or whose handle it has [entered](Self::enter), if there
    /// is one.
    ///
    /// ```
    /// assert!(trefoil::LoopHandle::try_current().is_none());
    /// ```
    pub fn try_current() -> Option<Self> {
        let running = || Some(entered_loop::local()?.shared.clone());
        let shared = entered_loop::entered().or_else(running)?;
        Some(Self { shared })
    }

    /// Makes this the [current](Self::current) handle of this thread until the guard is dropped,
    /// for code that asks for the current loop in order to start `Send` futures there.
    ///
    /// The loop runs elsewhere all the same, so nothing else changes on this thread:
    ///
    /// - [`spawn`](crate::spawn()) starts futures that are not `Send`, which cannot leave this
    ///   thread: it panics, unless a loop runs here. Call `LoopHandle::current().spawn(..)`, or
    ///   [`spawn_with`](Self::spawn_with) with code that makes the future there.
    /// - Sockets, sleeps and intervals can be made on any thread without this. They belong to the
    ///   loop that polls them first, and are not polled here: spawn what awaits them, or use
    ///   [`block_on`](Self::block_on).
    /// - [`time::now`](crate::time::now()) is the real time, also if the loop's clock is virtual.
    ///
    /// Guards must end in the reverse order, as scopes do: each puts back the handle that was the
    /// current one when it was made. A loop that begins to run on this thread
    /// meanwhile is the current one until it returns.
    ///
    /// ```
    /// use trefoil::{EventLoop, LoopHandle};
    ///
    /// fn library() -> trefoil::Task<u8> {
    ///     LoopHandle::current().spawn(async { 7 })
    /// }
    ///
    /// let event_loop = EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let started = std::thread::spawn(move || {
    ///     let _entered = handle.enter();
    ///     library()
    /// });
    /// let task = started.join().unwrap();
    /// assert_eq!(event_loop.block_on(task).unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn enter(&self) -> EnteredHandle<'_> {
        EnteredHandle {
            before: entered_loop::replace_entered(Some(self.shared.clone())),
            _handle: PhantomData,
        }
    }

    /// What the loop is doing: how many tasks it has, and how busy it is.
    ///
    /// Other threads see the numbers of the moment when the loop last asked the system for events:
    /// at most some hundred microseconds ago, unless one poll lasts longer (`slow_poll` reports
    /// that). Of a loop that has ended, they are those of its end. On the loop's own thread they
    /// are exact, except for the polls since that moment.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// event_loop.block_on(trefoil::yield_now());
    /// assert_eq!((handle.stats().tasks, handle.stats().polls), (0, 2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> LoopStats {
        let published = self.shared.counts.read();
        match entered_loop::local_of(&self.shared) {
            Some(local) => LoopStats {
                polls: published.polls,
                ..local.stats()
            },
            None => published,
        }
    }

    /// Runs a future on the loop, and blocks this thread until it is done: like
    /// [`spawn`](Self::spawn) and [`join`](Task::join), but failures are panics here.
    ///
    /// The future is sent to the loop, because its sockets and timers work only there; so it must
    /// be `Send` and own what it uses. The loop must run, on another thread, or this waits for
    /// ever. (To run a loop on this thread, use
    /// [`EventLoop::block_on`](crate::EventLoop::block_on).)
    ///
    /// # Panics
    ///
    /// A panic of the future is resumed here. Also if the loop has ended, or ends before the future
    /// is done; and on a thread of an event loop, or in a callback on a process pool's driver.
    ///
    /// ```
    /// use std::time::Duration;
    /// use trefoil::{LoopHandle, time};
    ///
    /// trefoil::run(async {
    ///     let handle = LoopHandle::current();
    ///     let length = trefoil::spawn_blocking(move || {
    ///         handle.block_on(async {
    ///             time::sleep(Duration::from_millis(1)).await;
    ///             3
    ///         })
    ///     });
    ///     assert_eq!(length.await.unwrap(), 3);
    /// });
    /// ```
    #[track_caller]
    pub fn block_on<F>(&self, future: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        if const { is_large::<F>() } {
            let future: BoxedFuture<F::Output> = Box::pin(future);
            return self.block_on(future);
        }
        entered_loop::refuse_nesting("LoopHandle::block_on");
        match self.spawn(future).cancel_on_drop().join() {
            Ok(output) => output,
            Err(TaskError::Panicked(panic)) => panic.resume_unwind(),
            Err(TaskError::WouldBlock) => panic!(
                "LoopHandle::block_on was called on the loop's own thread, where nothing would run \
                 the future: use EventLoop::block_on"
            ),
            Err(error) => panic!("LoopHandle::block_on: the future did not finish: {error}"),
        }
    }

    /// Starts a future on the loop.
    ///
    /// Does not wait. If the loop has ended, or is ending, the task ends in [`TaskError::Closed`].
    ///
    /// ```
    /// # let handle = trefoil::run(async { trefoil::LoopHandle::current() });
    /// # fn threads(handle: trefoil::LoopHandle) -> Result<i32, trefoil::TaskError> {
    /// // From a thread that may block:
    /// let sum = handle.spawn(async { 1 + 2 }).join()?;
    /// # Ok(sum) }
    /// # assert!(threads(handle).is_err());
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        if const { is_large::<F>() } {
            let future: BoxedFuture<F::Output> = Box::pin(future);
            return self.spawn(future);
        }
        let (runnable, task) =
            task::Newborn::new(Kind::Future).future(future, self.shared.clone(), false);
        if let Some(local) = entered_loop::local_of(&self.shared) {
            local.admit(runnable);
            return task;
        }
        self.shared.set_hook(&runnable);
        if !(self.shared.is_closing() || self.shared.is_foreign()) {
            self.shared.push(runnable);
        }
        task
    }

    /// Starts a future that need not be `Send`: `make` is sent to the loop, and creates the future
    /// there.
    ///
    /// The future stays on the loop's thread: it is polled and dropped there,
    /// whichever thread cancels the task.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let task = std::thread::spawn(move || {
    ///     handle.spawn_with(|| {
    ///         let counter = Rc::new(1);
    ///         async move { *counter + 1 }
    ///     })
    /// })
    /// .join()
    /// .unwrap();
    /// assert_eq!(event_loop.block_on(task).unwrap(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_with<M, F>(&self, make: M) -> Task<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        if const { is_large::<M>() } {
            let make: BoxedCall<'_, F> = Box::new(make);
            return self.spawn_with(make);
        }
        if const { is_large::<F>() } {
            let make = move || -> LocalBoxedFuture<'static, F::Output> { Box::pin(make()) };
            let make: BoxedCall<'_, LocalBoxedFuture<'static, F::Output>> = Box::new(make);
            return self.spawn_with(make);
        }
        let future = async move { make().await };
        let newborn = task::Newborn::new(Kind::Local); // runs user code, so before the lock
        if let Some(local) = entered_loop::local_of(&self.shared) {
            let (runnable, task) = newborn.local_future(future, self.shared.clone());
            local.admit(runnable);
            return task;
        }
        // The future is made only once it is certain that the loop will take it: a refused
        // future would be dropped on this thread.
        let Some(gate) = self.shared.hold_gate() else {
            // Otherwise this makes a task that may end here, in `Closed`.
            let never = std::future::pending::<F::Output>();
            let (runnable, task) = newborn.future(never, self.shared.clone(), false);
            self.shared.set_hook(&runnable);
            return task;
        };
        let (runnable, task) = newborn.local_future(future, self.shared.clone());
        self.shared.set_hook(&runnable);
        self.shared.push(runnable);
        drop(gate); // only now may the loop begin to close
        task
    }

    /// Calls `f` on the loop, after the tasks that the loop knows to be ready.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let called = event_loop.handle().call_soon(|| "on the loop");
    /// assert_eq!(event_loop.block_on(called).unwrap(), "on the loop");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_soon<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'_, T> = Box::new(f);
            return self.call_soon(f);
        }
        self.spawn(async move { f() })
    }

    /// Calls `f` on the loop once `delay` has passed, counted from now.
    ///
    /// Cancelling the task before then cancels the call.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let later = event_loop.handle().call_later(Duration::from_millis(5), || 7);
    /// assert_eq!(event_loop.block_on(later).unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn call_later<F, T>(&self, delay: Duration, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'_, T> = Box::new(f);
            return self.call_later(delay, f);
        }
        let start = self.shared.now();
        self.spawn(async move {
            let mut alarm = Alarm::new(later(start, delay));
            std::future::poll_fn(|cx| alarm.poll_elapsed(cx)).await;
            f()
        })
    }
}

/// Returned by [`LoopHandle::enter`].
///
/// ```
/// use trefoil::{EventLoop, LoopHandle};
///
/// let event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// let entered = handle.enter();
/// let task = LoopHandle::current().spawn(async { 7 }); // no loop runs on this thread
/// drop(entered); // from here on there is no current handle
/// assert_eq!(event_loop.block_on(task).unwrap(), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the handle is the current one until this is dropped"]
pub struct EnteredHandle<'a> {
    before: entered_loop::Entered,
    /// It belongs to this thread.
    _handle: PhantomData<(&'a LoopHandle, *const ())>,
}

impl Drop for EnteredHandle<'_> {
    fn drop(&mut self) {
        drop(entered_loop::replace_entered(self.before.take()));
    }
}

/// Starts a future on the loop that runs on this thread. It need not be `Send`.
///
/// # Panics
///
/// Outside a loop, also if the thread has [entered](LoopHandle::enter) a handle: use
/// [`LoopHandle::spawn`] there, or [`EventLoop::spawn`](crate::EventLoop::spawn).
///
/// ```
/// use std::rc::Rc;
///
/// let total = trefoil::run(async {
///     let shared = Rc::new(20);
///     let tasks: Vec<_> = (1..=3)
///         .map(|n| {
///             let shared = shared.clone();
///             trefoil::spawn(async move { *shared * n })
///         })
///         .collect();
///     let mut total = 0;
///     for task in tasks {
///         total += task.await?;
///     }
///     Ok::<_, trefoil::TaskError>(total)
/// });
/// assert_eq!(total.unwrap(), 120);
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    if const { is_large::<F>() } {
        let future: LocalBoxedFuture<'_, F::Output> = Box::pin(future);
        return spawn(future);
    }
    let local = entered_loop::local().expect(
        "trefoil::spawn needs an event loop on this thread: call it inside trefoil::run(..) or \
         EventLoop::block_on(..); elsewhere use LoopHandle::spawn (with LoopHandle::current() if a handle \
         was entered), or EventLoop::spawn where the loop was made",
    );
    let (runnable, task) =
        task::Newborn::new(Kind::Local).local_future(future, local.shared.clone());
    local.admit(runnable);
    task
}
