//! The ways into a loop: [`EventLoop`], its builder, and [`run`].
//!
//! Tests: `tests/event_loop/loops.rs::a_loop_without_descriptors_is_an_error`,
//! `tests/event_loop/running.rs::{run_cancels_what_is_left_and_waits_for_its_destructors,
//! misuse_panics_in_words}`.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entered_loop::{self, refuse_nesting};
use super::handle::LoopHandle;
use super::local::Local;
use super::slow_poll::{SlowHook, SlowPoll, Watchdog};
use super::turn;
use crate::events::{self, Kind};
use crate::large::{LocalBoxedFuture, is_large};
use crate::task::{self, Hook, Task, TaskReport, context, panic};

/// Runs a future to its end on an event loop of its own, on this thread.
///
/// When the future is done, tasks of the loop that still run are cancelled: their futures are
/// dropped before `run` returns. The future itself need be neither `Send` nor `'static`.
///
/// # Panics
///
/// If a loop already runs on this thread, or in a callback on a process pool's driver: `.await` the
/// future there, or move the call to another thread. Also if the system refuses the loop's
/// descriptors ([`EventLoop::new`] returns that error instead). A panic of the future is resumed in
/// the caller, after the other tasks have been cancelled.
///
/// ```
/// use std::time::Duration;
/// use trefoil::time::sleep;
///
/// let words = vec!["hello", "world"];
/// let greeting = trefoil::run(async {
///     sleep(Duration::from_millis(1)).await;
///     words.join(" ") // borrowed from outside
/// });
/// assert_eq!(greeting, "hello world");
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    if const { is_large::<F>() } {
        let future: LocalBoxedFuture<'_, F::Output> = Box::pin(future);
        return run(future);
    }
    refuse_nesting("trefoil::run");
    let event_loop = EventLoop::new()
        .unwrap_or_else(|error| panic!("trefoil::run could not create an event loop: {error}"));
    event_loop.block_on(future)
}

/// One thread's event loop.
///
/// It runs only inside [`block_on`](Self::block_on) and [`poll_once`](Self::poll_once), which may
/// be called any number of times. Tasks stay from one call to the next, and do not run in between.
/// (So use `block_on` to wait on this thread for a task of the loop, which no other thread could
/// run: a `join` of it, or of a list of such tasks, returns
/// [`WouldBlock`](crate::TaskError::WouldBlock).) Dropping the loop cancels its tasks. It cannot
/// leave its thread; a [`LoopHandle`] can.
///
/// ```
/// let event_loop = trefoil::EventLoop::new()?;
/// let task = event_loop.handle().spawn(async { 1 });
/// let sum = event_loop.block_on(async move { task.await.unwrap() + 1 });
/// assert_eq!(sum, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// let event_loop = trefoil::EventLoop::new().unwrap();
/// std::thread::spawn(move || event_loop.block_on(async {}));
/// ```
pub struct EventLoop {
    pub(super) local: Rc<Local>,
    _watchdog: Option<Watchdog>,
}

// As for `Local`.
impl UnwindSafe for EventLoop {}
impl RefUnwindSafe for EventLoop {}

impl EventLoop {
    /// A loop with the usual settings.
    ///
    /// # Errors
    ///
    /// If the system refuses its descriptors.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// assert_eq!(event_loop.block_on(async { 7 }), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Self::builder().build()
    }

    /// A loop with settings of your own.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::builder().build()?;
    /// # drop(event_loop);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn builder() -> EventLoopBuilder {
        EventLoopBuilder {
            hook: None,
            slow_poll: None,
            virtual_time: false,
        }
    }

    /// Runs the loop until `future` is done. The calling thread does the work.
    ///
    /// # Panics
    ///
    /// If a loop already runs on this thread, this one included, or in a callback on a process
    /// pool's driver. A panic of `future` is resumed in the caller; the loop stays usable.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// for n in 0..3 {
    ///     assert_eq!(event_loop.block_on(async { n + 1 }), n + 1);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if const { is_large::<F>() } {
            let future: LocalBoxedFuture<'_, F::Output> = Box::pin(future);
            return self.block_on(future);
        }
        refuse_nesting("EventLoop::block_on");
        let _entered = entered_loop::enter(&self.local);
        turn::drive(&self.local, future)
    }

    /// Starts a future that need not be `Send` on this loop, from outside: it waits until the loop
    /// runs. Inside the loop, [`spawn`](crate::spawn()) is the same.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::rc::Rc;
    ///
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let count = Rc::new(Cell::new(0));
    /// let tasks: Vec<_> = (1..=3)
    ///     .map(|n| {
    ///         let count = count.clone();
    ///         event_loop.spawn(async move { count.set(count.get() + n) })
    ///     })
    ///     .collect();
    /// assert_eq!(count.get(), 0);
    /// event_loop.block_on(trefoil::try_join_all(tasks)).unwrap();
    /// assert_eq!(count.get(), 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        if const { is_large::<F>() } {
            let future: LocalBoxedFuture<'_, F::Output> = Box::pin(future);
            return self.spawn(future);
        }
        let shared = &self.local.shared;
        let (runnable, task) = task::Newborn::new(Kind::Local).local_future(future, shared.clone());
        if shared.is_here() {
            self.local.admit(runnable);
        } else {
            // This also wakes a loop that another loop drives.
            shared.set_hook(&runnable);
            shared.push(runnable);
        }
        task
    }

    /// Does what can be done now, without waiting. This is for a program whose own loop drives this
    /// one.
    ///
    /// Returns true if there is more to do: call again soon. If it returns false, call again when
    /// the loop's descriptor ([`AsFd`]) is readable, or at [`next_deadline`](Self::next_deadline).
    /// One call runs at most 64 tasks.
    ///
    /// Do not rely on the descriptor before the first call, nor between a
    /// [`block_on`](Self::block_on) and the next call. Between calls the loop sleeps: work from
    /// other threads makes the descriptor readable.
    ///
    /// # Panics
    ///
    /// If a loop already runs on this thread, this one included, or in a callback on a process
    /// pool's driver.
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// use std::time::{Duration, Instant};
    ///
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let task = event_loop.handle().spawn(trefoil::time::sleep(Duration::from_millis(5)));
    /// while !task.is_finished() {
    ///     if event_loop.poll_once() || task.is_finished() {
    ///         continue;
    ///     }
    ///     // Any loop that knows descriptors will do.
    ///     let wait = event_loop
    ///         .next_deadline()
    ///         .map(|at| Timespec::try_from(at.saturating_duration_since(Instant::now())).unwrap());
    ///     poll(&mut [PollFd::new(&event_loop, PollFlags::IN)], wait.as_ref())?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn poll_once(&self) -> bool {
        refuse_nesting("EventLoop::poll_once");
        let _entered = entered_loop::enter(&self.local);
        turn::once(&self.local)
    }

    /// When to call [`poll_once`](Self::poll_once) again, unless the descriptor becomes readable
    /// first: at once if there is something to do, otherwise when the next timer is due. `None`:
    /// never. The time is real time, whatever clock the loop has.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let event_loop = trefoil::EventLoop::new()?;
    /// assert_eq!(event_loop.next_deadline(), None);
    /// event_loop.handle().spawn(trefoil::time::sleep(Duration::from_secs(60))).detach();
    /// assert!(event_loop.next_deadline().unwrap() <= Instant::now());
    /// while event_loop.poll_once() {}
    /// assert!(event_loop.next_deadline().unwrap() > Instant::now());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_deadline(&self) -> Option<Instant> {
        turn::next_turn(&self.local)
    }

    /// A handle with which other threads start work on this loop.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let task = std::thread::spawn(move || handle.spawn(async { "from a thread" })).join().unwrap();
    /// assert_eq!(event_loop.block_on(task).unwrap(), "from a thread");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&self) -> LoopHandle {
        let shared = self.local.shared.clone();
        LoopHandle { shared }
    }
}

/// The descriptor becomes readable when there is something to do, but a timer, between calls of
/// [`EventLoop::poll_once`]. Wait for it, but do not read it.
#[cfg(unix)]
impl AsFd for EventLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.local.poller.as_fd()
    }
}

#[cfg(unix)]
impl AsRawFd for EventLoop {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        turn::close(&self.local);
    }
}

debug!(impl EventLoop, self, shared = self.local.shared);

/// Settings of an [`EventLoop`].
///
/// ```
/// let event_loop = trefoil::EventLoop::builder().build()?;
/// assert_eq!(event_loop.block_on(async { 1 }), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub struct EventLoopBuilder {
    hook: Option<Hook>,
    slow_poll: Option<(Duration, SlowHook)>,
    virtual_time: bool,
}

impl EventLoopBuilder {
    /// Sets a hook for failures of this loop's tasks that are never taken. It replaces the
    /// process's hook (see [`on_unobserved`](crate::on_unobserved)).
    ///
    /// The hook runs on the thread that ended the task or dropped its handle, so it must be short.
    /// A panic in it is caught.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let event_loop = trefoil::EventLoop::builder()
    ///     .on_unobserved(move |report| { let _ = sender.send(report.error().to_string()); })
    ///     .build()?;
    /// event_loop.block_on(async {
    ///     trefoil::spawn(async { panic!("not looked at") }).detach();
    ///     trefoil::yield_now().await;
    /// });
    /// assert!(receiver.try_recv().unwrap().contains("not looked at"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Reports a task that keeps the loop busy for `threshold`, *while* it does: with a
    /// computation, a blocking call, or an endless loop in a poll.
    ///
    /// The hook runs on a separate thread, at most once for each such poll: one that ends while the
    /// hook still runs is not reported. A panic in it is caught; dropping the loop waits until it
    /// has returned.
    ///
    /// Cost: nothing for loops without it; with it, about a tenth of a microsecond for each poll.
    /// An idle loop stays idle. The threshold is real time, also on a loop with
    /// [`virtual_time`](Self::virtual_time).
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let event_loop = trefoil::EventLoop::builder()
    ///     .slow_poll(Duration::from_millis(10), move |slow| {
    ///         let _ = sender.send(slow.elapsed);
    ///     })
    ///     .build()?;
    /// event_loop.block_on(async {
    ///     // Blocks the loop, until the hook says so.
    ///     let elapsed = receiver.recv().unwrap();
    ///     assert!(elapsed >= Duration::from_millis(10));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn slow_poll(
        mut self,
        threshold: Duration,
        hook: impl Fn(&SlowPoll) + Send + Sync + 'static,
    ) -> Self {
        self.slow_poll = Some((threshold, Box::new(hook)));
        self
    }

    /// Gives the loop a clock of its own from the beginning, as [`time::pause`](crate::time::pause)
    /// does on a running loop. This is for tests: the clock stops while tasks run and, when none
    /// can run, jumps to the next deadline. An hour of timers takes milliseconds, and gives the
    /// same result each time.
    ///
    /// It is the clock of [`time`](crate::time), of `timeout`, of
    /// [`call_later`](LoopHandle::call_later) and of [`CancelToken`](crate::CancelToken)s on this
    /// loop. [`time::now()`](crate::time::now) reads it; `Instant::now()` remains the real
    /// time, so make deadlines for `sleep_until` from the former. At first both are the same.
    ///
    /// The clock does not run ahead of what happens outside the loop:
    ///
    /// - While a task of another executor is awaited (a thread or process pool's, a blocking call,
    ///   a file), or was, has not ended and is kept, the clock runs at the real pace. So a timeout
    ///   around such a task ends after that much real time, and never before.
    /// - While a task waits for a descriptor (a socket, a child process) or for a
    ///   [`Completer`](crate::Completer), the clock also runs at the real pace, until nothing has
    ///   come for half a second; then it jumps. Both sides may be on this loop, so this delay is
    ///   halved each time that nothing came, down to 10 ms. The same holds while a Unix listener
    ///   has no room in its queue. So each such wait that a timeout ends costs at least 10 ms of
    ///   real time. (The task of a `Completer` that was awaited in vain is not waited for once
    ///   more, unless something else comes.) Where that is too much, move the clock with
    ///   [`advance`](crate::time::advance()), or test with a channel in place of the socket.
    /// - The clock does not see channels, locks and events that other threads are to use, nor the
    ///   streams of `imap`, nor `reserve`, nor what combinators that were made outside the loop
    ///   (`try_join_all`, `as_completed`, `wait`, a `TaskGroup`) wait for. Make them inside the
    ///   loop, and await a [`Task`] for another thread's work.
    ///
    /// A task that spins until some time has passed (with `yield_now`, say) keeps the clock from
    /// moving. A sleep that is too long for any clock ends at this clock's last instant, when there
    /// is nothing else to wait for.
    /// A loop in which no task can run, and none waits for a time, sleeps until it is woken, as one
    /// in real time does.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use trefoil::time::{self, interval};
    ///
    /// let event_loop = trefoil::EventLoop::builder().virtual_time().build()?;
    /// let began = Instant::now();
    /// event_loop.block_on(async {
    ///     let start = time::now();
    ///     let mut beat = interval(Duration::from_secs(60));
    ///     for minute in 0..=60 {
    ///         beat.tick().await;
    ///         assert_eq!(time::now() - start, Duration::from_secs(60) * minute);
    ///     }
    /// });
    /// assert!(began.elapsed() < Duration::from_secs(60));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn virtual_time(mut self) -> Self {
        self.virtual_time = true;
        self
    }

    /// Makes the loop. It belongs to this thread.
    ///
    /// # Errors
    ///
    /// If the system refuses its descriptors, or the thread of
    /// [`slow_poll`](Self::slow_poll).
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::builder().build()?;
    /// # drop(event_loop);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build(self) -> io::Result<EventLoop> {
        panic::install_hook();
        context::register_fork_handler();
        events::executor_made();
        let watchdog = match self.slow_poll {
            Some((threshold, hook)) => Some(Watchdog::start(threshold, hook)?),
            None => None,
        };
        let watched = watchdog.as_ref().map(|watchdog| watchdog.watched.clone());
        let local = Local::new(self.hook, watched)?;
        if self.virtual_time {
            local.pause();
        }
        Ok(EventLoop {
            local: Rc::new(local),
            _watchdog: watchdog,
        })
    }
}

debug!(
    impl EventLoopBuilder,
    self,
    slow_poll = self.slow_poll.as_ref().map(|(d, _)| d),
    virtual_time = self.virtual_time
);
