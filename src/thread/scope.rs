//! Scopes: tasks that borrow from the function that starts them.
//!
//! **Job.** `std::thread::scope`'s shape on the pool: what is spawned inside a
//! scope has ended when the scope returns, so it may borrow what lives longer
//! than the scope.
//!
//! **Protocol.** 1. `spawn` puts the task into the scope's own queue (its
//! *brood*) and a *ticket* into the pool's queues, unless there are as many as the pool is wide. 2. A worker that
//! finds a ticket takes the oldest task of that brood, if one is left, and before it runs it puts another
//! ticket into its own queue, if there is more to do. 3. Who waits for a task
//! runs it, if nobody has begun it. 4. The scope's end runs what is left in the
//! brood, then waits for what others run.
//!
//! A pool that is being shut down refuses tickets. What they were for is left to the
//! waiters, and the scope's own is woken, because it may have parked already.
//!
//! Tickets are worth any task of their scope, so it does not matter which one a
//! waiter has run itself in the meantime; the ticket serves for the next.
//!
//! A task is begun once because beginning it takes its closure out of a slot
//! behind a lock. A panic is kept in a cell that the handle and the scope share: whoever
//! comes first, `join` or the end of the scope, takes it.
//!
//! **Promised.** The end of a scope runs only that scope's tasks. All tasks have
//! ended, and what they captured and returned without being asked for has been
//! dropped, when the scope returns. The body's own panic comes before those of
//! tasks.
//!
//! Rejected: one allocation for the task and another for its result; letting the
//! handle's `Drop` wait.
//!
//! Tests: `tests/thread/pool.rs`.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::latch::Latch;
use super::queue::Work;
use super::raw::lent::{Brood, Entry};
use super::registry::Registry;
use super::worker::Slot;
use crate::loom::Mutex;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::task::{Panic, TaskError, context, panic};

/// Where the tasks of a [`scope`](super::ThreadPool::scope) are spawned.
///
/// A reference to it can be captured by the tasks themselves, which may then
/// spawn more.
pub struct Scope<'scope, 'env: 'scope> {
    common: Arc<Common>,
    // Invariant in both lifetimes, as in std: neither may be shortened by subtyping.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// What the handles share with the scope; outlives nothing, borrows nothing.
struct Common {
    registry: Arc<Registry>,
    brood: Arc<Brood>,
    /// The panics of tasks, in the order in which they happened.
    panics: Mutex<Vec<Arc<PanicCell>>>,
    /// The pool has refused a ticket: only waiters can run what is left.
    orphaned: AtomicBool,
}

impl Common {
    /// A waiter may run tasks of the scope on this thread.
    fn may_help(&self) -> bool {
        self.orphaned.load(Ordering::Relaxed)
            || ((self.registry.config().caller_helps || self.registry.is_home())
                && context::stack_left())
    }
}

type PanicCell = Mutex<Option<Panic>>;

/// A claim on one task of a scope, in the pool's queues.
pub(super) struct Ticket(Arc<Brood>);

impl Ticket {
    /// Its scope has ended: it is of no use.
    pub(super) fn is_stale(&self) -> bool {
        self.0.is_over()
    }

    /// Runs a task of the scope, after it has put `another` ticket into the queues, if there is
    /// more to do.
    pub(super) fn redeem(self, width: usize, another: impl FnOnce(Self)) {
        let brood = &self.0;
        brood.redeem(width, || another(Self(Arc::clone(brood))));
    }
}

/// A spawned task: closure, then result.
struct Scoped<F, T> {
    closure: Mutex<Option<F>>,
    ending: Ending<T>,
    common: Arc<Common>,
}

struct Ending<T> {
    result: Mutex<Option<Result<T, Arc<PanicCell>>>>,
    latch: Latch,
    waiter: Mutex<Option<Arc<Slot>>>,
}

/// A task as its handle sees it.
trait Handle<T>: Entry {
    fn ending(&self) -> &Ending<T>;
    fn common(&self) -> &Arc<Common>;
}

impl<F, T> Entry for Scoped<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(&self) {
        let Some(closure) = self.closure.lock().take() else {
            return;
        };
        let result = panic::catch(closure).map_err(|panic| {
            let cell = Arc::new(Mutex::new(Some(panic)));
            self.common.panics.lock().push(Arc::clone(&cell));
            cell
        });
        *self.ending.result.lock() = Some(result);
        if self.ending.latch.set() {
            let waiter = self.ending.waiter.lock().take();
            if let Some(slot) = waiter {
                slot.wake();
            }
        }
    }

    fn is_taken(&self) -> bool {
        self.closure.lock().is_none()
    }
}

impl<F, T> Handle<T> for Scoped<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn ending(&self) -> &Ending<T> {
        &self.ending
    }

    fn common(&self) -> &Arc<Common> {
        &self.common
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a task that may borrow whatever outlives the scope.
    ///
    /// It runs on some worker of the pool, or on the thread that waits for it
    /// (by [`ScopedTask::join`], or at the end of the scope). Costs two allocations.
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
        let task = Arc::new(Scoped {
            closure: Mutex::new(Some(f)),
            ending: Ending {
                result: Mutex::new(None),
                latch: Latch::new(),
                waiter: Mutex::new(None),
            },
            common: Arc::clone(&self.common),
        });
        let needs_ticket = self.lend(
            Arc::clone(&task) as Arc<dyn Entry + 'scope>,
            self.common.registry.width(),
        );
        if needs_ticket
            && self
                .common
                .registry
                .submit(Work::Ticket(Ticket(Arc::clone(&self.common.brood))))
                .is_err()
        {
            self.common.orphaned.store(true, Ordering::Relaxed);
            self.brood().ticket_refused();
        }
        ScopedTask(task)
    }

    pub(super) fn brood(&self) -> &Brood {
        &self.common.brood
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
pub struct ScopedTask<'scope, T>(Arc<dyn Handle<T> + 'scope>);

impl<T> ScopedTask<'_, T> {
    /// Blocks until the task has ended: its value, or its panic.
    ///
    /// If nobody has begun the task, this thread runs it. Otherwise it parks; if
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
        let ending = self.0.ending();
        if !ending.latch.is_set() && self.0.common().may_help() {
            // Inside of its pool, wherever its waiter is.
            self.0.common().registry.seated(|_| self.run_here());
        }
        if !ending.latch.is_set() {
            self.0.common().registry.seated(|worker| {
                let park = || {
                    self.0.common().registry.insist();
                    *ending.waiter.lock() = Some(Arc::clone(worker.slot()));
                    ending.latch.park()
                };
                worker.wait(|| ending.latch.is_set(), park, || false);
            });
        }
        let result = ending.result.lock().take();
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(cell)) => match cell.lock().take() {
                Some(panic) => Err(TaskError::Panicked(Box::new(panic))),
                None => Err(TaskError::Closed),
            },
            None => Err(TaskError::Closed),
        }
    }

    pub(super) fn entry_and_brood(&self) -> (&dyn Entry, &Brood) {
        (&*self.0, &self.0.common().brood)
    }

    /// The task has ended: [`join`](Self::join) will not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.ending().latch.is_set()
    }
}

/// Runs `body` with a scope on this pool; see [`ThreadPool::scope`](super::ThreadPool::scope).
pub(super) fn scope<'env, F, R>(registry: &Arc<Registry>, body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    registry.seated(|worker| {
        let brood = Arc::new(Brood::new(worker));
        let common = Arc::new(Common {
            registry: Arc::clone(registry),
            brood: Arc::clone(&brood),
            panics: Mutex::new(Vec::new()),
            orphaned: AtomicBool::new(false),
        });
        let scope = Scope {
            common: Arc::clone(&common),
            scope: PhantomData,
            env: PhantomData,
        };
        let result = brood.raise(worker, || body(&scope), || common.may_help());
        let panics = std::mem::take(&mut *common.panics.lock());
        let unheard = panics.iter().find_map(|cell| cell.lock().take());
        // One by one: the payloads' own destructors may panic.
        for cell in panics {
            panic::contain(|| drop(cell));
        }
        match unheard {
            Some(panic) => {
                panic::contain(|| drop(result));
                panic.resume_unwind()
            }
            None => result,
        }
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
