//! Whether, and how, a thread from outside takes part in a pool's work.
//!
//! **Job.** A worker of the pool is in it already. A thread from outside that calls `join`, `map`
//! or `scope` takes part as an *outside thread*: while it does, it has a [`Worker`] with a slot,
//! that is, with deques that others can steal from. Slots are returned to the pool and reused.
//!
//! **A task is inside its pool, whichever thread runs it.** A thread that waits for a spawned
//! closure may claim and run it, even if it is not a worker of the pool, or is inside another pool.
//! In the closure, `trefoil::join` and similar functions must still use the pool that it was
//! spawned on. So the thread enters that pool while the closure runs. The task has its pool's tag;
//! if that is not the tag of the thread's home pool, or the thread is inside another pool than its
//! home, `task` passes the claimed closure to [`run_inside`]. If no pool has that tag, the pool has
//! ended or belongs to a parent process, and the closure is called directly.
//!
//! Rejected: a reference to the pool in each closure (two writes to a line that all spawners
//! share); a slot that each thread keeps (a tenth of the instructions of a region, for a
//! thread-local that refers to a pool).
//!
//! Tests: `tests/thread/pool.rs::{many_outside_threads_use_one_pool_at_once,
//! a_pool_ends_while_an_outside_thread_goes_on_spawning}`, `tests/thread/current_pool.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::events;
use crate::thread::engine::compensate::Waits;
use crate::thread::engine::lent::raw_job;
use crate::thread::engine::queue::{Mode, Work};
use crate::thread::engine::raw_current as current;
use crate::thread::engine::registry::Registry;
use crate::thread::engine::worker::Worker;

/// Calls `f` with this thread as an outside worker, in a slot that it borrows for the call. It
/// counts as waiting, whatever it runs there: it returns only when the pool's work has ended.
pub(in crate::thread) fn as_outside_worker(registry: &Arc<Registry>, f: &mut dyn FnMut(&Worker)) {
    let _waits = Waits::begin(registry.sleep.waiters());
    let worker = Worker::new(Arc::clone(registry), registry.slots.take_outside());
    let run = || current::inside(&worker, || f(&worker));
    let result = catch_unwind(AssertUnwindSafe(run));
    registry.put_outside_slot(worker.owned);
    result.unwrap_or_else(|payload| resume_unwind(payload));
}

/// Calls `run` inside the pool with this tag. See
/// [`context::set_run_inside`](crate::task::context::set_run_inside).
pub(in crate::thread) fn run_inside(tag: u32, run: &mut dyn FnMut()) {
    match Registry::by_tag(tag) {
        Some(registry) => {
            registry.as_worker(&mut |worker| {
                let _helping = worker.helps();
                run();
            });
        }
        None => run(),
    }
}

/// On which thread code runs that enters a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::thread) enum EnterMode {
    /// Here with the others' help, unless the pool wants its work to run on its own threads only.
    Region,
    /// On one of the pool's threads, or here if this is one, or if the pool has been shut down.
    OwnThread,
}

/// Code to call in the pool: a trait object, so that the compiler makes one copy of the way in, and
/// not one for each `map` of a program.
type EnterFn<'a> = &'a mut (dyn FnMut(&Worker) + Send);

impl Registry {
    /// Whether this thread is a worker of this pool.
    pub(in crate::thread) fn is_home(self: &Arc<Self>) -> bool {
        current::with_home(|home| home.is_some_and(|home| self.is(home.registry())))
    }

    /// Calls `f` with this thread's worker in the pool; a thread without one borrows a slot for the
    /// call.
    pub(in crate::thread) fn as_worker(self: &Arc<Self>, f: &mut dyn FnMut(&Worker)) {
        self.if_worker(|worker| match worker {
            Some(worker) => f(worker),
            None => as_outside_worker(self, f),
        });
    }

    /// Calls `f` with this thread's worker in the pool, if it has one.
    #[inline]
    pub(in crate::thread) fn if_worker<R>(
        self: &Arc<Self>,
        f: impl FnOnce(Option<&Worker>) -> R,
    ) -> R {
        current::with(|worker| match worker {
            Some(worker) if self.is(worker.registry()) => f(Some(worker)),
            _ => current::with_home(|home| match home {
                Some(home) if self.is(home.registry()) => current::inside(home, || f(Some(home))),
                _ => f(None),
            }),
        })
    }

    /// Calls `f` with a worker of the pool, and returns its result.
    #[inline]
    pub(in crate::thread) fn enter<R: Send>(
        self: &Arc<Self>,
        mode: EnterMode,
        f: impl FnOnce(&Worker) -> R + Send,
    ) -> R {
        let (mut f, mut result) = (Some(f), None);
        self.call_in(mode, &mut |worker| result = f.take().map(|f| f(worker)));
        result.unwrap_or_else(|| unreachable!("it has been called"))
    }

    fn call_in(self: &Arc<Self>, mode: EnterMode, f: EnterFn<'_>) {
        if mode == EnterMode::OwnThread || !self.config.caller_helps {
            return self.call_on_own_thread(f);
        }
        self.as_worker(&mut |worker| {
            let helping = worker.helps();
            let _noted = helping.as_ref().map(|_| events::region());
            f(worker);
        });
    }

    #[inline(never)] // so that `call_in` stays small
    fn call_on_own_thread(self: &Arc<Self>, f: EnterFn<'_>) {
        if self.is_home() || self.injector.mode() != Mode::Open {
            return self.as_worker(f);
        }
        let mut lent = None;
        let mut run = || current::with(|worker| worker.map(&mut *f).unwrap_or_default());
        as_outside_worker(self, &mut |waiter| {
            let wake_handle = &waiter.slot().wake_handle;
            lent = raw_job::lend(wake_handle, &mut run, |job, lent| {
                match self.inject(Work::Job(job)) {
                    Err(Work::Job(job)) => Some(job),
                    _ => {
                        waiter.wait_for(lent.latch());
                        None
                    }
                }
            });
        });
        match lent {
            Some(Err(panic)) => panic.resume_unwind(),
            Some(Ok(())) => {}
            None => self.as_worker(f), // the pool has been shut down meanwhile
        }
    }
}
