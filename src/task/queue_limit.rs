//! A limit to what an executor has queued: spawned, and not begun.
//!
//! **Protocol.** 1. A spawn takes a place before the task exists. 2. The task's closure or future
//! (in a process pool, its job) owns the place, and gives it back when it begins. A task that is
//! cancelled or refused drops what has not begun, and the place with it. 3. When the executor ends,
//! after it has begun to refuse tasks, there are places for everybody: each spawn that waits goes
//! on, and its task ends in `Closed`.
//!
//! Which spawns take no place: `thread/spawn.rs`, `event_loop/queue_limit.rs`; in a process pool
//! those that do not call `PoolState::place` (`process/parent/client.rs`).
//!
//! Tests: `tests/thread/queue_limit.rs`, `tests/process/queue_limit.rs`,
//! `tests/event_loop/queue_limit.rs`.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::task::Context;
use std::time::Instant;

use super::error::TaskError;
use super::raw::{Completer, Task};
use super::unobserved::Hook;
use crate::loom::Arc;
use crate::parking::park::{self, Waited};
use crate::sync::{Semaphore, SemaphoreGuardArc};

/// A place in a queue, for one task that has not begun.
pub(crate) type Place = SemaphoreGuardArc;

/// The free places of a queue.
#[derive(Clone, Debug)]
pub(crate) struct QueueLimit {
    places: Arc<Semaphore>,
    /// See step 3. (A pointer, so that a program without limits is linked without what it does.)
    open: fn(&Semaphore, usize),
}

/// More tasks than memory could hold. With so many free places, a queue has no limit.
const UNLIMITED: usize = usize::MAX >> 8;

impl QueueLimit {
    pub(crate) fn new(tasks: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(tasks.clamp(1, UNLIMITED))),
            open: Semaphore::add_permits,
        }
    }

    /// Takes a place. Blocks this thread until there is one, at most `until` then; where a thread
    /// must not block, that is an error.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Result<Place, TaskError> {
        if let Some(place) = self.try_take() {
            return Ok(place);
        }
        let (mut taking, mut place) = (pin!(self.places.acquire_arc()), None);
        let waited = park::wait(until, |waker| {
            let taken = taking.as_mut().poll(&mut Context::from_waker(waker));
            taken.map(|taken| place = Some(taken)).is_ready()
        });
        place.ok_or_else(|| match waited {
            Waited::TimedOut => TaskError::timed_out(),
            _ => TaskError::WouldBlock,
        })
    }

    fn try_take(&self) -> Option<Place> {
        self.places.try_acquire_arc()
    }

    /// See step 3. The executor already refuses new tasks.
    pub(crate) fn close(&self) {
        if self.places.available_permits() < UNLIMITED {
            (self.open)(&self.places, UNLIMITED);
        }
    }
}

/// A place in a queue that may have a limit, if there is a free one. Otherwise returns `work`.
pub(crate) fn try_place<W>(
    limit: Option<&QueueLimit>,
    work: W,
) -> Result<(Option<Place>, W), QueueFull<W>> {
    match limit.map(QueueLimit::try_take) {
        Some(None) => Err(QueueFull(work)),
        place => Ok((place.flatten(), work)),
    }
}

/// A task that ends in `error`, because it was never queued.
#[cold]
#[track_caller]
pub(crate) fn refused<T: Send + 'static>(error: TaskError, hook: Option<&Hook>) -> Task<T> {
    let (completer, task) = Completer::new();
    if let Some(hook) = hook {
        completer.set_hook(hook);
    }
    completer.complete(Err(error));
    task
}

/// The error of `try_spawn`, whose executor has a
/// [`queue_limit`](crate::ThreadPoolBuilder::queue_limit): the queue is full. It gives back what was
/// to be spawned.
///
/// As a [`TaskError`] it is `WouldBlock`, and that is dropped.
///
/// ```
/// let event_loop = trefoil::EventLoop::builder().queue_limit(1).build()?;
/// let handle = event_loop.handle();
/// let first = handle.try_spawn(async { 1 })?; // the loop does not run yet: it is queued
/// let full = handle.try_spawn(async { 2 }).unwrap_err();
/// let second = full.into_inner();
/// assert_eq!(event_loop.block_on(async { first.await.unwrap() + second.await }), 3);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct QueueFull<W>(W);

impl<W> QueueFull<W> {
    /// The closure, future or argument, which was not spawned.
    pub fn into_inner(self) -> W {
        self.0
    }
}

/// Without its contents, whose type need not be `Debug`.
impl<W> fmt::Debug for QueueFull<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueFull(..)")
    }
}

impl<W> fmt::Display for QueueFull<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the executor's queue is full")
    }
}

impl<W> Error for QueueFull<W> {}

impl<W> From<QueueFull<W>> for TaskError {
    fn from(_: QueueFull<W>) -> Self {
        Self::WouldBlock
    }
}

/// A place in the queue of a pool or a loop, for one task: from
/// [`ThreadPool::reserve`](crate::ThreadPool::reserve),
/// [`ProcessPool::reserve`](crate::ProcessPool::reserve),
/// [`ProcessCall::reserve`](crate::ProcessCall::reserve) or
/// [`LoopHandle::reserve`](crate::LoopHandle::reserve).
///
/// Its `spawn` never waits. Dropping it gives the place back.
///
/// ```
/// # trefoil::init();
/// let procs = trefoil::ProcessPool::builder().workers(1).queue_limit(8).build()?;
/// let length = trefoil::run(async {
///     let place = procs.reserve().await; // waits while the queue is full
///     place.spawn("a text".to_owned(), |text: String| text.len()).await
/// });
/// assert_eq!(length?, 6);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the place is given back when this is dropped"]
#[derive(Debug)]
pub struct QueuePlace<'a, E> {
    executor: &'a E,
    place: Option<Place>,
}

impl<'a, E> QueuePlace<'a, E> {
    pub(crate) async fn reserve(executor: &'a E, limit: Option<&QueueLimit>) -> Self {
        let place = match limit {
            Some(limit) => Some(limit.places.acquire_arc().await),
            None => None,
        };
        Self { executor, place }
    }

    pub(crate) fn into_parts(self) -> (&'a E, Option<Place>) {
        (self.executor, self.place)
    }
}
