//! The event loop: one thread, many tasks that mostly wait.
//!
//! [`run`] is the usual way in: it makes a loop, runs one future to its end, and
//! cancels what that future has started and left. Inside, [`spawn`]
//! starts tasks that run side by side on the same thread; [`crate::time`] waits
//! for time and [`crate::io`] for sockets. From other threads a [`LoopHandle`] starts
//! work here.
//!
//! ```text
//!   other threads                      │   the loop's thread
//!                                      │
//!   LoopHandle ┐                       │        ┌──▶ root future, ready tasks
//!   Waker ─────┼─▶ mailbox ────────────┼────────┤              │
//!   dropped ───┴─▶ notes ──────────────┼────────┤              ▼
//!   source, timer                      │        ├── timers ◀── sleep, timeout
//!                     (shared)         │        └── reactor ◀─ sockets   (home)
//! ```
//!
//! # Reading order
//!
//! `turn` is the loop itself. `home` is what its thread alone touches,
//! `shared` what others may, `mailbox` and `doorbell` how they bring work and
//! wake it: the only atomic protocol here, with the invariants L1 and L2 and
//! a model. `reactor` and `waiters` turn readiness into wake-ups. `current` says
//! which loop runs here. Nothing in this directory is `unsafe`.
//!
//! # Promised
//!
//! - Tasks run in the order in which they became ready.
//! - Nothing that sleeps is woken early; an idle loop makes no system call.
//! - A wake-up or a spawn from another thread takes no lock (`spawn_with`: one), and
//!   a system call only if the loop is asleep.
//! - A future that is not `Send` is polled and dropped on the loop's thread.
//! - A panic ends the task that panicked, nothing else.
//! - When the loop ends, every task on it has ended.
//!
//! # Rejected
//!
//! - The executor as a future that any runtime may poll: it must then assume that
//!   any thread polls it, and lock.
//! - `io_uring` for sockets: within a fifth of `epoll` either way, forbidden in
//!   many containers, and its buffers fit no existing trait.
//! - A reactor for the process: its thread is always there, and each of its
//!   sources needs a lock.
//!
//! Checked by `tests/event_loop/` and `checks/tests/loop_models.rs`.

pub(crate) mod current;
mod doorbell;
mod handle;
mod home;
mod mailbox;
/// What the models in `checks/` drive: the mailbox.
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod reactor;
mod shared;
mod turn;
mod waiters;
mod yield_now;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::task::{Hook, TaskReport, context, panic};

pub(crate) use home::Home;
pub(crate) use reactor::{Direction, SourceKey};
pub(crate) use shared::Shared;
pub(crate) use waiters::SHARED;

pub use handle::{LoopHandle, spawn};
pub use yield_now::{YieldNow, yield_now};

/// Runs a future to its end on an event loop of its own, on this thread.
///
/// When the future is done, tasks that it started and that still run are
/// cancelled: their futures are dropped before `run` returns. The future itself
/// need be neither `Send` nor `'static`.
///
/// # Panics
///
/// If a loop runs on this thread already: `.await` the future there, or move the
/// call to a thread of its own. Also if the system refuses the loop's
/// descriptors ([`EventLoop::new`] returns that error instead). A panic of the
/// future goes on in the caller, after the other tasks were cancelled.
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
    refuse_nesting("trefoil::run");
    let event_loop = EventLoop::new()
        .unwrap_or_else(|error| panic!("trefoil::run: the system refused an event loop: {error}"));
    event_loop.block_on(future)
}

/// One thread's event loop.
///
/// It runs only inside [`block_on`](Self::block_on), which may be called again
/// and again: tasks stay from one call to the next, and none of them runs in between
/// (so on this thread wait for one with `block_on`: a `join` of one that was spawned on this
/// thread is refused, of one that came through a handle it would wait for ever).
/// Dropping the loop cancels them.
/// It cannot leave its thread; [`LoopHandle`] can.
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
    home: Rc<Home>,
}

impl EventLoop {
    /// A loop with the usual settings.
    ///
    /// # Errors
    ///
    /// If the system refuses its two descriptors.
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
        EventLoopBuilder { hook: None }
    }

    /// Runs the loop until `future` is done; this thread waits meanwhile.
    ///
    /// # Panics
    ///
    /// If a loop (this one, too) runs on this thread already. A panic of `future`
    /// goes on in the caller; the loop stays usable.
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
        refuse_nesting("EventLoop::block_on");
        let _entered = current::enter(&self.home);
        turn::drive(&self.home, pin!(future))
    }

    /// A remote control for other threads.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::new()?;
    /// let handle = event_loop.handle();
    /// let task = std::thread::spawn(move || handle.spawn(async { "from a thread" })).join().unwrap();
    /// assert_eq!(event_loop.block_on(task).unwrap(), "from a thread");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn handle(&self) -> LoopHandle {
        LoopHandle::new(self.home.shared.clone())
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        turn::close(&self.home);
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("shared", &self.home.shared)
            .finish_non_exhaustive()
    }
}

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
}

impl EventLoopBuilder {
    /// What happens to a failure of this loop's tasks that nobody took, in place of the
    /// process's hook (see [`on_unobserved`](crate::on_unobserved)).
    ///
    /// The hook runs on the thread that ended the task or dropped its handle; it must be
    /// short. A panic in it goes no further.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let event_loop = trefoil::EventLoop::builder()
    ///     .on_unobserved(move |report| { let _ = tell.send(report.error().to_string()); })
    ///     .build()?;
    /// event_loop.block_on(async {
    ///     trefoil::spawn(async { panic!("nobody looks") }).detach();
    ///     trefoil::yield_now().await;
    /// });
    /// assert!(told.try_recv().unwrap().contains("nobody looks"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_unobserved(mut self, hook: impl Fn(&TaskReport) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Makes the loop, for this thread.
    ///
    /// # Errors
    ///
    /// If the system refuses its two descriptors.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::builder().build()?;
    /// # drop(event_loop);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build(self) -> io::Result<EventLoop> {
        panic::install_hook();
        Ok(EventLoop {
            home: Rc::new(Home::new(self.hook)?),
        })
    }
}

impl fmt::Debug for EventLoopBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoopBuilder").finish_non_exhaustive()
    }
}

#[track_caller]
fn refuse_nesting(what: &str) {
    assert!(
        !context::blocking_refused(),
        "{what} was called on a thread that must not block, because an event loop (or a process pool's driver) \
         runs on it: .await the future here, or call {what} on a thread of its own"
    );
}
