//! How the tasks of a scope are queued, run and joined, and which of their panics is resumed.
//!
//! **Job.** `std::thread::scope` on the pool: tasks spawned in a scope have ended when the scope
//! returns, so they may borrow data that outlives the scope.
//!
//! **Protocol.** 1. `spawn` puts the task into the spawning worker's own deque of scopes' tasks; a
//! thread that has no place in the pool, or is inside another scope, puts it into the injector
//! (`scope_queue.rs`). 2. Workers take from both as from other queues: their own newest, the
//! others' oldest. 3. A thread that waits for a task runs it, if it has not been begun. 4. A scope
//! that opens on a thread sets a mark in that thread's deque (`Worker::enter_scope`). Until the
//! scope ends, the thread takes only tasks above the mark from there (`Worker::pop_scoped`), which
//! are the scope's own. 5. The scope's end runs those, the newest first; then this scope's tasks in
//! the other workers' deques and in the injector, wherever they lie there; then it waits.
//!
//! A pool that is shutting down refuses tasks from outside. Those are left to the scope's own
//! thread, which is woken because it may have parked already.
//!
//! A task is begun once: `raw_once_task.rs`. A panic is kept in the scope's list: whichever
//! comes first, `join` or the end of the scope, takes it.
//!
//! **Guarantees.** The end of a scope runs only that scope's tasks. When the scope returns, all
//! tasks have ended, and their captures and untaken results have been dropped. It resumes at most
//! one panic: the body's own; otherwise, of the tasks' panics that no `join` has taken, the one
//! that was recorded first, in time.
//!
//! Tests: `tests/thread/pool.rs::{tasks_that_are_joined_in_any_order_and_by_others,
//! of_several_panics_of_a_scope_the_first_untaken_one_in_time_is_resumed}`.

use std::iter;
use std::panic::resume_unwind;
use std::ptr;
use std::sync::Arc;
use std::thread;

use super::raw_scope::{Scope, ScopeState, ToLend, open};
use crate::large::{BoxedCall, is_large};
use crate::loom::atomic::Ordering;
use crate::sys::stack;
use crate::task::{Panic, TaskError, panic};
use crate::thread::engine::lent::latch::Latch;
use crate::thread::engine::lent::raw_once_task::{OnceTaskHandle, Scoped, handle};
use crate::thread::engine::lent::raw_pair_arc::PairArc;
use crate::thread::engine::lent::raw_scope_counter::{ErasedEntry, TrackedEntry};
use crate::thread::engine::queue::{Mode, Work};
use crate::thread::engine::registry::Registry;
use crate::thread::engine::worker::Worker;
use crate::thread::engine::worker::wait::ROUNDS;

/// Whether a waiter may run tasks of the scope on this thread.
fn may_help(scope: &ScopeState) -> bool {
    let registry = &scope.registry;
    let helps = registry.config.caller_helps || registry.is_home();
    let alone =
        || scope.orphaned.load(Ordering::Relaxed) || registry.injector.mode() == Mode::Closed;
    helps && stack::is_half_left() || alone()
}

impl<'scope> Scope<'scope, '_> {
    /// Spawns a task that may borrow whatever outlives the scope.
    ///
    /// It runs on some worker of the pool, or on the thread that waits for it
    /// (by [`ScopedTask::join`], or at the end of the scope). Costs one allocation, if no memory of
    /// an ended one is left.
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
    #[inline]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedTask<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'scope, T> = Box::new(f);
            return self.spawn(f);
        }
        if const { is_large::<T>() } {
            let (task, handles) = self.pair(Scoped::new(|| Box::new(f())));
            push(task);
            return ScopedTask {
                task: handle(handles),
                scope: &self.shared,
            };
        }
        let (task, handles) = self.pair(Scoped::new(f));
        push(task);
        ScopedTask {
            task: handle(handles),
            scope: &self.shared,
        }
    }

    /// Spawns a task that has no result and no handle; for the rest see [`spawn`](Self::spawn). The
    /// end of the scope waits for it, and resumes its panic. Costs less: a handle and the queue
    /// must agree on which of the two goes last.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let sum = AtomicU32::new(0);
    /// trefoil::scope(|s| {
    ///     for n in 1..=4 {
    ///         let sum = &sum;
    ///         s.spawn_detached(move || _ = sum.fetch_add(n, Ordering::Relaxed));
    ///     }
    /// });
    /// assert_eq!(sum.into_inner(), 10);
    /// ```
    #[inline]
    pub fn spawn_detached<F>(&'scope self, f: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'scope, ()> = Box::new(f);
            return self.spawn_detached(f);
        }
        push(self.alone(Scoped::new(f)));
    }
}

/// Queues a task.
fn push(task: ToLend<'_>) {
    let scope = task.scope;
    scope.registry.present().if_worker(|worker| match worker {
        Some(worker) if worker.takes_scope(scope.address()) => {
            worker.push_scoped(task.lend(Some(&worker.ended)));
        }
        _ => enqueue(scope, task.lend(None)),
    });
}

/// Puts a task into the pool's injector.
fn enqueue(scope: &ScopeState, lent: ErasedEntry) {
    if scope.registry.is_foreign() {
        return refuse(scope, lent); // the queue's lock may be held for ever
    }
    lent.enqueue(|ticket| {
        if let Err(Work::Ticket(ticket)) = scope.registry.inject_here(Work::Ticket(ticket))
            && let Some(lent) = ticket.refused()
        {
            refuse(scope, lent);
        }
    });
}

/// Leaves a task to the threads that wait for its scope.
fn refuse(scope: &ScopeState, lent: ErasedEntry) {
    scope.orphaned.store(true, Ordering::Relaxed);
    scope.refused.lock().push(lent);
    scope.wake_waiter();
}

/// A task spawned in a [`Scope`].
///
/// If it is dropped, the end of the scope waits for the task. It cannot leave the scope, and the
/// task cannot borrow from the scope's body:
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
    task: PairArc<TrackedEntry<dyn OnceTaskHandle<Result<T, usize>> + 'scope>>,
    scope: &'scope ScopeState,
}

impl<T> ScopedTask<'_, T> {
    /// Blocks until the task has ended: its value, or its panic.
    ///
    /// If no thread has begun the task, this one may run it. Otherwise it parks; if it is a worker,
    /// a spare takes its place.
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
        let (task, counter) = (&self.task.entry, &self.scope.counter);
        let registry = self.scope.registry.present();
        if !task.latch().is_set() && may_help(self.scope) {
            // Inside its pool, on whichever thread it is waited for.
            registry.as_worker(
                &mut |worker| match worker.take_scoped(ptr::from_ref(task).addr()) {
                    Some(lent) => lent.run(&worker.ended),
                    None => self.scope.run_here(task),
                },
            );
        }
        if !task.latch().is_set() {
            // The thread that has begun it may be the parent's; `registry` is this process's own.
            self.scope.registry.assert_not_forked();
            registry.as_worker(&mut |worker| {
                let thread = worker.slot().wake_handle.clone();
                let wait = || worker.wait_for(task.latch());
                counter.join(task, thread, wait);
            });
        }
        match task.take() {
            Some(Ok(value)) => Ok(value),
            Some(Err(which)) => match counter.panics.lock()[which].take() {
                Some(panic) => Err(TaskError::Panicked(Box::new(panic))),
                None => Err(TaskError::Closed),
            },
            None => Err(TaskError::Closed),
        }
    }

    /// Whether the task has ended, so that [`join`](Self::join) will not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.entry.latch().is_set()
    }
}

/// Runs the tasks that `next` returns, until it returns none.
fn run_all(worker: &Worker, mut next: impl FnMut() -> Option<ErasedEntry>) {
    // (A task may have forked, and returned in the child, too, where nothing more is to be done.)
    while !worker.registry().is_foreign()
        && let Some(lent) = next()
    {
        lent.run(&worker.ended);
    }
}

/// A large body of a scope.
pub(in crate::thread) type BoxedBody<'a, 'env, R> =
    Box<dyn for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R + 'a>;

/// Runs `body` with a scope on this pool; see
/// [`ThreadPool::scope`](crate::thread::ThreadPool::scope).
pub(in crate::thread) fn scope<'env, F, R>(registry: &Arc<Registry>, body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    if const { is_large::<R>() } {
        return *scope_direct(registry, |scope| Box::new(body(scope)));
    }
    scope_direct(registry, body)
}

/// Like [`scope`], for a result that is not large.
fn scope_direct<'env, F, R>(registry: &Arc<Registry>, body: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let registry = registry.present();
    let (mut body, mut result) = (Some(body), None);
    registry.as_worker(&mut |worker| {
        let Some(body) = body.take() else { return };
        let here = || worker.pop_scoped();
        let rest = |scope: &ScopeState| {
            if may_help(scope) {
                run_all(worker, here);
            } else if !worker.registry().is_foreign() {
                iter::from_fn(here).for_each(|lent| enqueue(scope, lent));
            }
        };
        let wait = |scope: &ScopeState, latch: &Latch| {
            let help = || {
                let refused = scope.refused.lock().pop();
                let next = || {
                    here()
                        .or_else(|| worker.steal_scoped(scope.address()))
                        .or_else(|| scope.counter.take_queued())
                };
                let next = || may_help(scope).then(next).flatten();
                let mut first = refused.or_else(next);
                let found = first.is_some();
                run_all(worker, || first.take().or_else(here));
                worker.ended.count_off();
                found
            };
            worker.wait(ROUNDS, || latch.is_set(), || latch.park(), help);
        };
        let (returned, panics) = open(worker, body, rest, wait);
        result = Some(match returned {
            Ok(value) if panics.is_empty() => value,
            returned => unless_panicked(returned, panics),
        });
    });
    result.unwrap_or_else(|| unreachable!("it has been called"))
}

/// Resumes the panic of a scope, if there is one: see the module.
#[cold]
fn unless_panicked<R>(returned: thread::Result<R>, panics: Vec<Option<Panic>>) -> R {
    let mut untaken = panics.into_iter().flatten();
    let first = match &returned {
        Ok(_) => untaken.next(),
        Err(_) => None, // the body's own comes first
    };
    // One by one: the payloads' own destructors may panic.
    untaken.for_each(|panic| panic::contain(|| drop(panic)));
    match (returned, first) {
        (Ok(value), None) => value,
        (Err(payload), _) => resume_unwind(payload),
        (Ok(value), Some(first)) => {
            panic::contain(|| drop(value));
            first.resume_unwind()
        }
    }
}

debug!(impl Scope<'_, '_>, self);

debug!(impl<T> ScopedTask<'_, T>, self, is_finished = self.is_finished());
