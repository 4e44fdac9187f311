//! Spawning on a loop whose queue has a limit.
//!
//! **Job.** Takes the place, and lets the future own it until its first poll. A loop without a
//! limit takes the direct way, in `handle.rs`.
//!
//! Tests: `tests/event_loop/queue_limit.rs`.

use super::handle::LoopHandle;
use super::shared::this_thread;
use crate::task::queue_limit::{Place, try_place};
use crate::task::{QueueFull, QueuePlace, Task, TaskError};

impl LoopHandle {
    /// Waits for a place. None is taken without a limit, and on the loop's own thread.
    #[inline]
    pub(super) fn place(&self) -> Result<Option<Place>, TaskError> {
        match self.shared.queue_limit() {
            Some(limit) if self.shared.owner.id() != this_thread() => limit.wait(None).map(Some),
            _ => Ok(None),
        }
    }

    #[track_caller]
    pub(super) fn spawn_in<F>(&self, place: Option<Place>, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.spawn_now(async move {
            drop(place);
            future.await
        })
    }

    #[track_caller]
    pub(super) fn spawn_with_in<M, F>(&self, place: Option<Place>, make: M) -> Task<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        self.spawn_with_now(move || {
            drop(place);
            make()
        })
    }

    /// Spawns a future if the queue has room, or else gives it back: see
    /// [`queue_limit`](crate::EventLoopBuilder::queue_limit). Never waits. Without a limit it
    /// always succeeds.
    ///
    /// It takes a place wherever it is called, on the loop's own thread, too. If the loop has
    /// ended, it returns a task that ends in [`TaskError::Closed`].
    ///
    /// # Errors
    /// [`QueueFull`], with the future.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::builder().queue_limit(1).build()?;
    /// let handle = event_loop.handle();
    /// let first = handle.try_spawn(async { 1 })?;
    /// let full = handle.try_spawn(async { 2 }).unwrap_err();
    /// assert_eq!(event_loop.block_on(first)?, 1);
    /// let second = handle.try_spawn(full.into_inner())?;
    /// assert_eq!(event_loop.block_on(second)?, 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_spawn<F>(&self, future: F) -> Result<Task<F::Output>, QueueFull<F>>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (place, future) = try_place(self.shared.queue_limit(), future)?;
        Ok(self.spawn_in(place, future))
    }

    /// Waits for a place in the queue, and returns it, for async code that spawns on a loop with a
    /// [`queue_limit`](crate::EventLoopBuilder::queue_limit). Without a limit it does not wait.
    ///
    /// Nor does it wait any more when the loop has ended: what is then spawned ends in
    /// [`TaskError::Closed`]. Cancel safe: dropping it gives up its turn.
    ///
    /// ```
    /// let event_loop = trefoil::EventLoop::builder().queue_limit(2).build()?;
    /// let handle = event_loop.handle();
    /// let sum = event_loop.block_on(async {
    ///     let mut tasks = Vec::new();
    ///     for n in 1..=10 {
    ///         tasks.push(handle.reserve().await.spawn(async move { n }));
    ///     }
    ///     trefoil::try_join_all(tasks).await.unwrap().into_iter().sum::<u64>()
    /// });
    /// assert_eq!(sum, 55);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn reserve(&self) -> QueuePlace<'_, Self> {
        QueuePlace::reserve(self, self.shared.queue_limit()).await
    }
}

impl QueuePlace<'_, LoopHandle> {
    /// Spawns a future in this place, as [`LoopHandle::spawn`] does.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let (handle, place) = self.into_parts();
        handle.spawn_in(place, future)
    }

    /// Spawns in this place the future that `make` returns, as [`LoopHandle::spawn_with`] does.
    #[track_caller]
    pub fn spawn_with<M, F>(self, make: M) -> Task<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output: Send + 'static> + 'static,
    {
        let (handle, place) = self.into_parts();
        handle.spawn_with_in(place, make)
    }
}
