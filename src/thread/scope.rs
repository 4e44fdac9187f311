//! Scopes: tasks that borrow from the function that starts them.
//!
//! **Job.** `std::thread::scope`'s shape on the pool: what is spawned inside a
//! scope has ended when the scope returns, so it may borrow what lives longer
//! than the scope.
//!
//! **Protocol.** 1. `spawn` puts the task into the scope's own queue, and a *ticket* into the pool's queues, unless there are as
//! many as the pool is wide, or as tasks newer than those that workers have begun to take. 2. A worker that
//! finds a ticket takes the oldest task of that scope, if one is left, and before it runs it puts another
//! ticket into its own queue, if there is more to do. If that is what it would find next, it goes on with the next tasks at once.
//! 3. A thread that waits for a task runs it, if it has not been begun. 4. The scope's end runs what is left in the
//! queue, then waits for what others run.
//!
//! A pool that is being shut down refuses tickets. What they were for is left to the
//! waiters, and the scope's own is woken, because it may have parked already.
//!
//! Tickets are worth any task of their scope, so it does not matter which one a
//! waiter has run itself in the meantime; the ticket serves for the next.
//!
//! A task is begun once: `raw/stage.rs`. A panic is kept in the scope's list: whichever
//! comes first, `join` or the end of the scope, takes it.
//!
//! **Promised.** The end of a scope runs only that scope's tasks. All tasks have
//! ended, and what they captured and returned without being asked for has been
//! dropped, when the scope returns. The body's own panic comes before those of
//! tasks.
//!
//! Tests: `tests/thread/pool.rs`.

use std::fmt;
use std::sync::Arc;

use super::queue::Work;
use super::raw::lent::{Entry, Lender};
use super::raw::scope::{Scope, Shared, open};
use super::raw::stage::Stage;
use super::registry::Registry;
use crate::loom::atomic::Ordering;
use crate::task::{TaskError, context, panic};

/// A waiter may run tasks of the scope on this thread.
fn may_help(scope: &Shared) -> bool {
    let registry = &scope.registry;
    scope.orphaned.load(Ordering::Relaxed)
        || ((registry.config.caller_helps || registry.is_home()) && context::stack_left())
}

/// A spawned task: closure, then result. An error: which of the scope's panics.
type Scoped<F, T> = Stage<F, Result<T, usize>>;

/// A task as its handle sees it.
trait Handle<T>: Entry {
    fn is_ended(&self) -> bool;
    /// The thread that waits for it is about to park. False: it has ended.
    fn park(&self) -> bool;
    /// The result, once it is there.
    fn take(&self) -> Option<Result<T, usize>>;
}

impl<F, T> Entry for Scoped<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self, lender: &Lender) {
        let call = |closure| panic::catch(closure).map_err(|panic| lender.keep_panic(panic));
        if self.run(call) {
            lender.wake_joining(self);
        }
    }

    fn is_taken(&self) -> bool {
        self.is_begun()
    }
}

impl<F, T> Handle<T> for Scoped<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn is_ended(&self) -> bool {
        self.is_ended()
    }

    fn park(&self) -> bool {
        self.park()
    }

    fn take(&self) -> Option<Result<T, usize>> {
        self.take()
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a task that may borrow whatever outlives the scope.
    ///
    /// It runs on some worker of the pool, or on the thread that waits for it
    /// (by [`ScopedTask::join`], or at the end of the scope). Costs one allocation.
    ///
    /// ```
    /// let mut counts = [0; 4];
    /// trefoil::scope(|s| {
    ///     for (i, count) in counts.iter_mut().enumerate() {
    ///         s.spawn(move || *count = i * 10);
    ///     }
    /// });
    /// assert_eq!(counts, [0, 10, 20, 30]);
    /// ```
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedTask<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let scope = &self.shared;
        let task = Arc::new(Scoped::new(f));
        let lent = self.lend(task.clone());
        if scope.queue.push(lent, scope.registry.sleep.width()) {
            let ticket = Work::Ticket(Arc::clone(&scope.queue));
            if scope.registry.present().submit(ticket).is_err() {
                scope.orphaned.store(true, Ordering::Relaxed);
                scope.queue.ticket_refused();
            }
        }
        ScopedTask { task, scope }
    }
}

/// A task spawned in a [`Scope`].
///
/// Dropping it leaves the task to the end of the scope. It cannot leave the scope, and
/// the task cannot borrow from its body:
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// trefoil::scope(|s| kept = Some(s.spawn(|| 1)));
/// drop(kept);
/// ```
///
/// ```compile_fail,E0597
/// trefoil::scope(|s| {
///     let inner = String::from("gone when the body ends");
///     s.spawn(|| inner.len());
/// });
/// ```
pub struct ScopedTask<'scope, T> {
    task: Arc<dyn Handle<T> + 'scope>,
    scope: &'scope Shared,
}

impl<T> ScopedTask<'_, T> {
    /// Blocks until the task has ended: its value, or its panic.
    ///
    /// If no thread has begun the task, this one runs it. Otherwise it parks; if
    /// it is a worker, a spare takes its place.
    ///
    /// # Errors
    /// [`TaskError::Panicked`] if the task panicked; the end of the scope does not
    /// resume that panic any more.
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// let length = trefoil::scope(|s| s.spawn(|| text.len()).join());
    /// assert_eq!(length.unwrap(), 8);
    /// ```
    pub fn join(self) -> Result<T, TaskError> {
        let (task, lender) = (&*self.task, &self.scope.queue.lender);
        let registry = self.scope.registry.present();
        if !task.is_ended() && may_help(self.scope) {
            // Inside of its pool, wherever its waiter is.
            registry.seated(|_| self.scope.run_here(task));
        }
        if !task.is_ended() {
            // The thread that has begun it may be the parent's; `registry` is this process's own.
            self.scope.registry.assert_not_forked();
            registry.seated(|worker| {
                let thread = worker.slot().wake_handle.clone();
                let wait = || worker.wait(|| task.is_ended(), || task.park(), || false);
                lender.join(task, thread, wait);
            });
        }
        match task.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(which)) => match lender.panics.lock()[which].take() {
                Some(panic) => Err(TaskError::Panicked(Box::new(panic))),
                None => Err(TaskError::Closed),
            },
            None => Err(TaskError::Closed),
        }
    }

    /// The task has ended: [`join`](Self::join) will not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_ended()
    }
}

/// Runs `body` with a scope on this pool; see [`ThreadPool::scope`](super::ThreadPool::scope).
pub(super) fn scope<'env, F, R>(registry: &Arc<Registry>, body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let registry = registry.present();
    registry.seated(|worker| {
        let waiter = worker.slot().wake_handle.clone();
        let (result, panics) = open(registry, waiter, body, |latch, scope| {
            let help = || may_help(scope) && scope.queue.run_next();
            worker.wait(|| latch.is_set(), || latch.park(), help);
        });
        let mut unheard = panics.into_iter().flatten();
        let Some(first) = unheard.next() else {
            return result;
        };
        // One by one: the payloads' own destructors may panic.
        unheard.for_each(|panic| panic::contain(|| drop(panic)));
        panic::contain(|| drop(result));
        first.resume_unwind()
    })
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedTask<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask")
            .field("is_finished", &self.is_finished())
            .finish()
    }
}
