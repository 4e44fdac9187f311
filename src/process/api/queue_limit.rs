//! `try_spawn` and `reserve` of a process pool: they do not block at its queue's limit.
//!
//! **Job.** The ways to take a place that do not block. (One call, of a pool or an actor, waits in
//! `PoolState::place`, `parent/client.rs`; `map`, `map_task` and `imap` ask for none.)
//!
//! Tests: `tests/process/queue_limit.rs`.

use crate::process::{Portable, ProcessCall, ProcessPool};
use crate::task::queue_limit::try_place;
use crate::task::{QueueFull, QueuePlace, Task};

impl ProcessPool {
    /// Starts one item if the queue has room, or else gives `arg` back: see
    /// [`queue_limit`](crate::ProcessPoolBuilder::queue_limit). Never waits. Without a limit it
    /// always succeeds.
    ///
    /// # Errors
    /// [`QueueFull`], with `arg`, which has not been encoded. (In a pool that has ended there is no
    /// error: the task ends in [`TaskError::Closed`](crate::TaskError::Closed).)
    ///
    /// ```
    /// # use trefoil::ProcessPool;
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(1).queue_limit(10).build()?;
    /// match procs.try_spawn("four".to_owned(), |word: String| word.len()) {
    ///     Ok(task) => assert_eq!(task.join()?, 4),
    ///     Err(full) => println!("{} must wait", full.into_inner()),
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn try_spawn<A: Portable, R: Portable>(
        &self,
        arg: A,
        f: fn(A) -> R,
    ) -> Result<Task<R>, QueueFull<A>> {
        self.call(f).try_spawn(arg)
    }

    /// Waits for a place in the queue, and returns it, for async code that spawns on a pool with a
    /// [`queue_limit`](crate::ProcessPoolBuilder::queue_limit). Without a limit it does not wait.
    ///
    /// Nor does it wait any more when the pool has ended: what is then spawned ends in
    /// [`TaskError::Closed`](crate::TaskError::Closed). Cancel safe: dropping it gives up its turn.
    /// The waker of a task that waits here may be called on the pool's driver thread, where a
    /// blocking wait is refused ([`WouldBlock`](crate::TaskError::WouldBlock)), and must be short.
    ///
    /// ```
    /// # use trefoil::ProcessPool;
    /// # trefoil::init();
    /// let procs = ProcessPool::builder().workers(2).queue_limit(3).build()?;
    /// let sum: u64 = trefoil::run(async {
    ///     let mut tasks = Vec::new();
    ///     for n in 1..=20 {
    ///         let place = procs.reserve().await; // before the argument is made
    ///         tasks.push(place.spawn(vec![n; 1000], |numbers: Vec<u64>| numbers[0]));
    ///     }
    ///     trefoil::try_join_all(tasks).await.unwrap().into_iter().sum()
    /// });
    /// assert_eq!(sum, 210);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn reserve(&self) -> QueuePlace<'_, Self> {
        QueuePlace::reserve(self, self.shared().mailbox.queue_limit()).await
    }
}

impl QueuePlace<'_, ProcessPool> {
    /// Starts one item in this place, as [`ProcessPool::spawn`] does.
    #[track_caller]
    pub fn spawn<A: Portable, R: Portable>(self, arg: A, f: fn(A) -> R) -> Task<R> {
        let (pool, place) = self.into_parts();
        pool.call(f).spawn_in(place, arg)
    }
}

impl<A: Portable, R: Portable> ProcessCall<'_, A, R> {
    /// Starts one item if the queue has room, as [`ProcessPool::try_spawn`] does.
    ///
    /// # Errors
    /// [`QueueFull`], with `arg`.
    #[track_caller]
    pub fn try_spawn(&self, arg: A) -> Result<Task<R>, QueueFull<A>> {
        let (place, arg) = try_place(self.pool.mailbox.queue_limit(), arg)?;
        Ok(self.spawn_in(place, arg))
    }

    /// Waits for a place in the queue, as [`ProcessPool::reserve`] does.
    pub async fn reserve(&self) -> QueuePlace<'_, Self> {
        QueuePlace::reserve(self, self.pool.mailbox.queue_limit()).await
    }
}

impl<A: Portable, R: Portable> QueuePlace<'_, ProcessCall<'_, A, R>> {
    /// Starts one item in this place, as [`ProcessCall::spawn`] does.
    #[track_caller]
    pub fn spawn(self, arg: A) -> Task<R> {
        let (call, place) = self.into_parts();
        call.spawn_in(place, arg)
    }
}
