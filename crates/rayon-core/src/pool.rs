//! A pool, and what its threads know of it.
//!
//! **When a pool ends.** In rayon, dropping a pool does not wait, and what has been spawned runs to
//! its end. trefoil's last handle waits, unless it is detached. So all users of a pool share one
//! [`Handle`]: the [`ThreadPool`], and each task that was spawned, so that a task can spawn more.
//! The last of them detaches it.
//!
//! **What nobody waits for** has no caller for its panic: that goes to the pool's handler. Without
//! one the process aborts, as rayon's does.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::{env, fmt, process, thread};

use crate::broadcast::BroadcastContext;
use crate::error::Reason;
use crate::member::ThreadSpawn;
use crate::seat::Seat;
use crate::{
    Scope, ScopeFifo, ThreadPoolBuildError, ThreadPoolBuilder, Yield, here, spawn, yields,
};

pub(crate) type PanicHandler = dyn Fn(Box<dyn Any + Send>) + Send + Sync;

/// What the threads of a pool know of it.
pub(crate) struct PoolRecord {
    /// Of how many the program knows.
    pub(crate) threads: usize,
    /// If one of them, with the index 0, is the program's.
    pub(crate) seat: Option<Seat>,
    pub(crate) panic_handler: Option<Box<PanicHandler>>,
    /// Unset for the global pool, which does not end.
    pub(crate) handle: OnceLock<Weak<Handle>>,
}

impl PoolRecord {
    /// The pool as its users have it; `None` of the global one, and of one that is about to end.
    pub(crate) fn own(&self) -> Option<Pool> {
        self.handle.get()?.upgrade().map(Pool::Own)
    }

    /// The index of trefoil's first thread.
    pub(crate) fn first(&self) -> usize {
        usize::from(self.seat.is_some())
    }

    /// Runs what nobody waits for.
    pub(crate) fn run_alone(&self, f: impl FnOnce()) {
        let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else {
            return;
        };
        let handled = self
            .panic_handler
            .as_ref()
            .is_some_and(|handler| catch_unwind(AssertUnwindSafe(|| handler(payload))).is_ok());
        if !handled {
            process::abort();
        }
    }
}

/// What all users of a pool share.
pub(crate) struct Handle {
    /// There until the drop.
    pub(crate) pool: Option<trefoil::ThreadPool>,
    pub(crate) shared: Arc<PoolRecord>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.detach();
        }
    }
}

/// A pool to which work can be given.
#[derive(Clone)]
pub(crate) enum Pool {
    Global(&'static Handle),
    Own(Arc<Handle>),
}

impl Pool {
    fn handle(&self) -> &Handle {
        match self {
            Self::Global(handle) => handle,
            Self::Own(handle) => handle,
        }
    }

    pub(crate) fn trefoil(&self) -> &trefoil::ThreadPool {
        self.handle().trefoil()
    }

    pub(crate) fn shared(&self) -> &PoolRecord {
        &self.handle().shared
    }

    /// Queues what nobody waits for.
    pub(crate) fn spawn(&self, f: impl FnOnce() + Send + 'static) {
        let kept = self.clone();
        let task = move || kept.shared().run_alone(f);
        self.trefoil().spawn(task).detach();
    }
}

/// The global pool, which does not end, and the lock under which it is made.
static GLOBAL: OnceLock<Handle> = OnceLock::new();
static MAKING: Mutex<()> = Mutex::new(());

/// The global pool. The first call makes it.
///
/// # Panics
/// If the system refuses even one thread for it.
pub(crate) fn global() -> &'static Handle {
    if let Some(global) = GLOBAL.get() {
        return global;
    }
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    GLOBAL.get_or_init(|| {
        let of_one = |_| ThreadPoolBuilder::new().num_threads(1).make();
        let made = ThreadPoolBuilder::new().make().or_else(of_one);
        made.unwrap_or_else(|error| {
            panic!("The global thread pool could not start a thread: {error}")
        })
    })
}

/// Makes it from these settings.
pub(crate) fn set_global<S: ThreadSpawn>(
    builder: ThreadPoolBuilder<S>,
) -> Result<(), ThreadPoolBuildError> {
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if GLOBAL.get().is_some() {
        return Err(ThreadPoolBuildError(Reason::Global));
    }
    let made = builder.make()?;
    GLOBAL.get_or_init(|| made);
    Ok(())
}

/// What the environment says of the number of threads, as rayon reads it.
pub(crate) fn asked_threads() -> Option<usize> {
    let number = |name| env::var(name).ok()?.parse().ok();
    match number("RAYON_NUM_THREADS") {
        Some(0) => None,
        Some(threads) => Some(threads),
        None => number("RAYON_RS_NUM_CPUS").filter(|&threads| threads > 0),
    }
}

/// How many threads trefoil gives a pool that is not told.
pub(crate) fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

impl Handle {
    pub(crate) fn trefoil(&self) -> &trefoil::ThreadPool {
        let Some(pool) = &self.pool else {
            unreachable!("it is taken by the drop only");
        };
        pool
    }
}

/// A pool of its own beside the global one.
///
/// Dropping it does not wait: what has been spawned runs to its end.
pub struct ThreadPool {
    handle: Arc<Handle>,
}

impl ThreadPool {
    pub(crate) fn of(handle: Handle) -> Self {
        let handle = Arc::new(handle);
        let _first = handle.shared.handle.set(Arc::downgrade(&handle));
        Self { handle }
    }

    /// As [`ThreadPoolBuilder::build`](crate::ThreadPoolBuilder::build).
    ///
    /// # Errors
    /// As there.
    #[deprecated(note = "Use `ThreadPoolBuilder::build`")]
    #[allow(deprecated)]
    pub fn new(configuration: crate::Configuration) -> Result<Self, Box<dyn std::error::Error>> {
        configuration.build()
    }

    fn pool(&self) -> Pool {
        Pool::Own(Arc::clone(&self.handle))
    }

    /// Runs `op` on a thread of this pool, and returns its result. [`join`](crate::join()),
    /// [`scope`](crate::scope()) and parallel iterators in it use this pool.
    pub fn install<OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce() -> R + Send,
        R: Send,
    {
        here::waiting(|| self.handle.trefoil().install(op))
    }

    /// Calls `op` once on each thread, and returns the results in the order of the indices.
    /// (With `use_current_thread` it waits until that thread waits for the pool, or is the caller.)
    pub fn broadcast<OP, R>(&self, op: OP) -> Vec<R>
    where
        OP: Fn(BroadcastContext<'_>) -> R + Sync,
        R: Send,
    {
        crate::broadcast::broadcast_in(&self.pool(), op)
    }

    /// How many threads it has.
    #[inline]
    pub fn current_num_threads(&self) -> usize {
        self.handle.shared.threads
    }

    /// The index of the calling thread, if that is a thread of this pool.
    #[inline]
    pub fn current_thread_index(&self) -> Option<usize> {
        here::index_in(Some(&self.handle.shared))
    }

    /// As [`current_thread_has_pending_tasks`](crate::current_thread_has_pending_tasks), of this
    /// pool.
    #[inline]
    pub fn current_thread_has_pending_tasks(&self) -> Option<bool> {
        self.current_thread_index().map(|_| false)
    }

    /// [`join`](crate::join()) in this pool.
    pub fn join<A, B, RA, RB>(&self, oper_a: A, oper_b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        self.install(|| crate::join(oper_a, oper_b))
    }

    /// [`scope`](crate::scope()) in this pool.
    pub fn scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| crate::scope(op))
    }

    /// [`scope_fifo`](crate::scope_fifo()) in this pool.
    pub fn scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R + Send,
        R: Send,
    {
        self.install(|| crate::scope_fifo(op))
    }

    /// A scope whose `op` runs on the calling thread, and whose tasks run in this pool.
    pub fn in_place_scope<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&Scope<'scope>) -> R,
    {
        crate::scope::in_place(&self.pool(), op)
    }

    /// Runs `op` on this thread, with a [`ScopeFifo`] whose tasks run in the pool.
    pub fn in_place_scope_fifo<'scope, OP, R>(&self, op: OP) -> R
    where
        OP: FnOnce(&ScopeFifo<'scope>) -> R,
    {
        crate::scope::in_place_fifo(&self.pool(), op)
    }

    /// Queues `op`; the newest that a thread has spawned runs first there.
    pub fn spawn<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        self.pool().spawn(op);
    }

    /// Queues `op`; the oldest that a thread has spawned in this manner runs first there.
    pub fn spawn_fifo<OP>(&self, op: OP)
    where
        OP: FnOnce() + Send + 'static,
    {
        spawn::spawn_fifo_in(self.pool(), op);
    }

    /// Calls `op` once on each thread, without waiting for that. (With `use_current_thread`, on
    /// that thread when it waits for the pool.)
    pub fn spawn_broadcast<OP>(&self, op: OP)
    where
        OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
    {
        crate::broadcast::spawn_broadcast_in(&self.pool(), op);
    }

    /// As [`yield_now`](crate::yield_now()); `None` if the calling thread is no thread of this
    /// pool.
    pub fn yield_now(&self) -> Option<Yield> {
        self.current_thread_index().map(|_| yields::let_others_go())
    }

    /// As [`yield_local`](crate::yield_local()); `None` if the calling thread is no thread of this
    /// pool.
    pub fn yield_local(&self) -> Option<Yield> {
        self.yield_now()
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("num_threads", &self.current_num_threads())
            .finish_non_exhaustive()
    }
}
