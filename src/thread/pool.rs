//! `ThreadPool`: its methods, and what happens when its last handle is dropped.
//!
//! **Job.** Names, documentation and bounds; other files do the work: `join/` for `join`,
//! `scoped_task.rs` for `scope`, `divide.rs` over `items.rs` for `map` and similar methods, the
//! task cell for `spawn`; for all of them `wait.rs` for waiting, `registry/mod.rs` and
//! `start_and_resize.rs` for threads. What is decided here is the end of a pool whose last handle
//! is dropped ([`LastHandle`]), that a cancelled `map_task` begins no further item, and what
//! `map_each` makes of a panic. Which calls run in their caller: `registry/enter.rs`.
//!
//! Tests: `tests/thread/pool.rs::wait_runs_everything_and_then_refuses`,
//! `tests/thread/handles.rs::a_clone_is_the_same_pool_and_the_last_one_ends_it`.

use std::convert::Infallible;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};

use super::broadcast::{broadcast, spawn_broadcast};
use super::engine::config;
use super::engine::config::Config;
use super::engine::queue;
use super::engine::raw_current as current;
use super::engine::registry::Registry;
use super::engine::registry::enter::EnterMode;
use super::engine::registry::{enter, shutdown, start_and_resize};
use super::imap::iterator::Imap;
use super::join::fork::{self, JoinPool};
use super::map::items::Items;
use super::map::results::{RUN, map_reduce, try_map};
use super::map::source::Seal;
use super::scope::raw_scope::Scope;
use super::scope::scoped_task::{self, BoxedBody};
use super::spawn::spawn_on;
use super::stats::ThreadStats;
use crate::blocking_threads;
use crate::chaos;
use crate::events;
use crate::large::{BoxedCall, BoxedFuture, is_large};
use crate::loom::Arc;
use crate::parking::park;
use crate::sys::fork as forks;
use crate::task::panic::catch;
use crate::task::{CancelToken, Shutdown, Task, TaskError, context};
use crate::thread::engine::compensate::Compensate;
use crate::thread::engine::lent::raw_job::in_turn;
use crate::thread::engine::worker::join_window;
use crate::thread::spawn_async::spawn_async_on;

/// Work-stealing threads for CPU-bound work that shares memory.
///
/// A value of this type is a handle: a clone is the same pool. Dropping the last handle waits as
/// [`shutdown`](Self::shutdown) does with [`Shutdown::Wait`]: it runs the tasks that have been
/// spawned and joins the threads; a future of [`spawn_async`](Self::spawn_async) that still waits
/// then ends in [`Closed`](crate::TaskError::Closed). If one of the pool's own tasks drops it, that
/// cannot wait: the drop returns at once, and the pool ends when its work is done. (If `main`
/// returns before, the process ends first.) But do not drop it there within the `install` of
/// another pool, which would wait for itself. A future of the pool that holds a handle and never
/// ends keeps the pool.
///
/// # Waiting
/// While one of its workers waits (in `join`, at the end of a `scope`, in [`Task::join`]), it runs
/// only the work it waits for, or that work's children. If there is none, it parks, and a spare
/// thread takes its place. So locks and borrows may be held across a wait for work that
/// does not take them. (Work that takes a lock which the waiter holds may wait for it, even if a
/// thread may take that lock twice, as a [`Stdout::lock`](std::io::Stdout::lock) or a `RwLock` for
/// reading. And items that take two locks in opposite orders deadlock as on any threads.)
///
/// That also holds for a thread from outside, or a worker of another pool, that waits for something
/// which the pool has to run: in [`install`](Self::install), in [`Task::join`], for a
/// [`race`](crate::race), in a blocking method of [`sync`](crate::sync), or in any other wait of
/// this crate except [`broadcast`](Self::broadcast). While some thread waits, and queued tasks
/// stand still because the pool's threads are stuck, say in a lock of std that the waiting thread
/// holds, one more thread takes up a task within some ten milliseconds, another one after twice as
/// long, and so on, but after 160 ms at most: a hundred stuck tasks are all begun in some 16
/// seconds, whatever work renews itself meanwhile, because each of these threads goes on until it
/// is stuck itself. A thread from outside waits, in this sense, also while it runs a part of the
/// work itself; a worker that runs the awaited task itself does not, since its own task runs on.
/// This does not cover waits by means of other crates, nor an event loop whose thread holds a lock
/// of the standard library across an `.await`; and threads that compute, or spin, are not taken for
/// stuck. So tasks that block for long may have company while some thread waits: a
/// [`Semaphore`](crate::sync::Semaphore) limits how many run at a time.
///
/// # Which thread runs it
/// A thread outside the pool that calls `join`, `map` or `scope` takes part in the work itself,
/// unless [`caller_helps`](crate::ThreadPoolBuilder::caller_helps) forbids it. Maps that run at the
/// same time share the workers: one that has finished a part takes the next part of any of them;
/// and where callers do not help, a map gives way to the next every ten milliseconds. Work that
/// must not wait for other work [has its own pool](crate::_documentation::cookbook).
///
/// ```
/// use trefoil::ThreadPool;
///
/// let pool = ThreadPool::new();
/// let squares = pool.map(1..=4_u64, |x| x * x);
/// assert_eq!(squares, [1, 4, 9, 16]);
/// ```
#[derive(Clone)]
#[doc(alias("Parallel", "ThreadPoolExecutor"))]
pub struct ThreadPool {
    registry: Arc<Registry>,
    end: Arc<LastHandle>,
}

impl ThreadPool {
    /// A pool with all its threads.
    pub(super) fn start(config: Config) -> io::Result<Self> {
        forks::register_handler();
        current::register_fork_handler();
        context::register_fork_handler();
        queue::warm_up();
        context::set_run_inside(enter::run_inside);
        park::set_blocker(&Compensate);
        chaos::executor_made();
        events::executor_made();
        let registry = Registry::new(config, start_and_resize::start);
        let pool = Self {
            end: Arc::new(LastHandle {
                registry: Arc::clone(&registry),
                leaves: false,
            }),
            registry,
        };
        pool.registry.start_all()?;
        Ok(pool)
    }

    /// The state that its threads share; in a forked child, its replacement.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        self.registry.present()
    }

    /// How many tasks run at once. Spares for threads that wait do not count; see
    /// [Waiting](Self#waiting).
    ///
    /// ```
    /// assert_eq!(trefoil::ThreadPool::with_threads(2).num_threads(), 2);
    /// ```
    #[must_use]
    pub fn num_threads(&self) -> usize {
        self.registry.sleep.width()
    }

    /// What the pool is doing now: its threads, and how much is queued. In a forked child, that of
    /// a pool that was shut down.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let (completer, gate) = trefoil::Completer::new();
    /// let task = pool.spawn(move || gate.join());
    /// let stats = pool.stats();
    /// assert!(stats.busy + stats.queued >= 1 || stats.waiting >= 1); // it waits, or is about to
    /// completer.complete(Ok(()));
    /// task.join().unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn stats(&self) -> ThreadStats {
        ThreadStats::of(self.registry(), self.num_threads())
    }

    /// Makes the pool run `threads` tasks at once from now on; 0 means the default, as in
    /// [`new`](Self::new).
    ///
    /// Returns at once, from any thread, a worker of this pool included. Narrowing loses no work,
    /// and interrupts none. Widening starts the new threads at once; if the system refuses one,
    /// fewer run, and the pool asks again when there is work for it. After
    /// [`shutdown`](Self::shutdown) nothing changes.
    ///
    /// # Panics
    /// If `threads` is more than the 32,768 that a pool can have.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// pool.resize(3);
    /// assert_eq!(pool.num_threads(), 3);
    /// assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
    /// ```
    pub fn resize(&self, threads: usize) {
        let width = config::width_of(threads);
        let width = width.unwrap_or_else(|error| panic!("trefoil: cannot resize: {error}"));
        self.registry().resize(width);
    }

    /// Calls `f` once on each worker, with the worker's index, and returns the results in the
    /// order of the indices. `f` may borrow.
    ///
    /// Sleeping workers are woken; busy ones call `f` after their current work; spares make no
    /// call. If the caller is itself a worker of the pool, it calls `f` first and then waits for
    /// the others. If a worker is parked in a wait of this crate, or has been replaced because it
    /// is stuck in another one, or its last thread is still ending when the pool has become wider
    /// again, another worker makes its call, so that two broadcasts at the same time, or one inside
    /// another, do not wait for each other. After [`shutdown`](Self::shutdown), the caller makes
    /// all calls.
    ///
    /// Do not hold a lock here that tasks of the pool need: while nothing else is queued, a worker
    /// that is blocked on it counts as a busy one.
    ///
    /// # Panics
    /// If a call panics: when all calls have ended, the other results are dropped, and the panic of
    /// the lowest index is resumed.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let pool = trefoil::ThreadPool::with_threads(3);
    /// let calls = AtomicUsize::new(0);
    /// let indices = pool.broadcast(|index| {
    ///     calls.fetch_add(1, Ordering::Relaxed);
    ///     (index, trefoil::thread::current_index())
    /// });
    /// assert_eq!(indices, [(0, Some(0)), (1, Some(1)), (2, Some(2))]);
    /// assert_eq!(calls.into_inner(), 3);
    /// ```
    pub fn broadcast<F, R>(&self, f: F) -> Vec<R>
    where
        F: Fn(usize) -> R + Sync,
        R: Send,
    {
        broadcast(&self.registry, &f)
    }

    /// Broadcasts without waiting: one task for all calls, which async
    /// code can await.
    ///
    /// When the task is [cancelled](Task::cancel), it ends at once: calls that have not begun are
    /// skipped, and the tokens of those that run are set. It ends so, too, if calls have not begun
    /// when the pool is shut down with [`CancelPending`](Shutdown::CancelPending); after
    /// [`shutdown`](Self::shutdown) it ends in [`TaskError::Closed`]. If a call panics, it ends in
    /// [`TaskError::Panicked`] when all have ended: that of the lowest index. If the task is
    /// dropped, the workers still make the calls, as with [`spawn`](Self::spawn).
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(3);
    /// let squares = pool.spawn_broadcast(|index| index * index);
    /// assert_eq!(squares.join().unwrap(), [0, 1, 4]);
    /// ```
    #[track_caller]
    pub fn spawn_broadcast<F, R>(&self, f: F) -> Task<Vec<R>>
    where
        F: Fn(usize) -> R + Send + Sync + 'static,
        R: Send + 'static,
    {
        spawn_broadcast(self.registry(), f)
    }

    /// Runs `a` and `b`, perhaps at the same time, and returns both results. They may borrow.
    ///
    /// `b` is offered to other workers while `a` runs. If none takes it, that costs some
    /// nanoseconds. After [`shutdown`](Self::shutdown) both run in the caller.
    ///
    /// # Panics
    /// A panic in either half is resumed in the caller after both have ended; that of `a` if both
    /// panic. The other half's result is dropped before. If its destructor panics, too, the panic
    /// hook reports that, and that panic goes no further: of two panics that unwind at once, the
    /// second would abort the program, as it does where std drops a value.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut numbers = [4, 2, 3, 1];
    /// let (left, right) = numbers.split_at_mut(2);
    /// let (min, ()) = pool.join(|| left.iter().min().copied(), || right.sort());
    /// assert_eq!((min, numbers), (Some(2), [4, 2, 1, 3]));
    /// ```
    #[inline]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        if const { is_large::<A>() || is_large::<B>() } {
            let (a, b): (BoxedCall<'_, RA>, BoxedCall<'_, RB>) = (Box::new(a), Box::new(b));
            return self.join(a, b);
        }
        if const { is_large::<RA>() || is_large::<RB>() } {
            let (a, b) = self.join_direct(|| Box::new(a()), || Box::new(b()));
            return (*a, *b);
        }
        self.join_direct(a, b)
    }

    /// Like [`join`](Self::join), for results that are not large.
    #[inline(always)]
    fn join_direct<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        let address = self.registry.address();
        if join_window::step_of(address) || fork::runs_in_turn(address) {
            return in_turn(a, b);
        }
        fork::join_offered(JoinPool::Pool(self.registry()), a, b)
    }

    /// Runs `f` with a [`Scope`] in which it can spawn tasks that borrow, and returns when all of
    /// them have ended. `f` itself runs on this thread.
    ///
    /// The shape is that of [`std::thread::scope`].
    ///
    /// # Panics
    /// A panic of `f` is resumed after all tasks have ended. If `f` does not panic, but tasks do,
    /// one of their panics is resumed: the first in time that [`join`](super::ScopedTask::join) has
    /// not taken.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let text = String::from("three small words");
    /// let (words, bytes) = pool.scope(|s| {
    ///     let words = s.spawn(|| text.split(' ').count());
    ///     let bytes = s.spawn(|| text.len());
    ///     (words.join().unwrap(), bytes.join().unwrap())
    /// });
    /// assert_eq!((words, bytes), (3, 17));
    /// ```
    pub fn scope<'env, F, R>(&self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        if const { is_large::<F>() } {
            let f: BoxedBody<'_, 'env, R> = Box::new(f);
            return self.scope(f);
        }
        scoped_task::scope(self.registry(), f)
    }

    /// Spawns `f` and returns a handle to wait for it, blocking or in async code.
    ///
    /// A thread that waits for the task may run it itself, even one from outside the pool (see
    /// [`caller_helps`](crate::ThreadPoolBuilder::caller_helps)). Inside `f`, `trefoil::join` and
    /// similar functions use this pool, on whichever thread it runs.
    ///
    /// Does not block. After [`shutdown`](Self::shutdown) the task ends in [`TaskError::Closed`].
    ///
    /// `f` is a closure that computes. `spawn(|| async { .. })` makes a future and drops it, and
    /// nothing in it runs: for futures there is [`spawn_async`](Self::spawn_async).
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let task = pool.spawn(|| 6 * 7);
    /// assert_eq!(task.join().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&self, f: F) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'_, T> = Box::new(f);
            return self.spawn(f);
        }
        spawn_on(self.registry(), f)
    }

    /// Spawns `future`, which the pool's workers poll, and returns a handle to wait for it.
    ///
    /// For work that computes and now and then waits for a [`Task`], a channel or a lock of
    /// [`sync`](crate::sync): while it waits, it occupies no thread. A future that wakes itself
    /// goes behind the queued work. Inside it, `trefoil::join` and similar functions use this pool.
    /// A worker that joins the task polls it itself, if it is queued. Futures that are bound to an
    /// event loop (`time::sleep`, sockets) do not work here: they panic, or return an error, as
    /// documented there. [`timeout`](crate::timeout) and deadlines do work.
    ///
    /// A [cancelled](Task::cancel) future is dropped by a worker, soon if it waits. A future that
    /// still waits at [`shutdown`](Self::shutdown) ends in [`TaskError::Closed`] (or is cancelled);
    /// one that is spawned afterwards ends in `Closed` at once.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let half = pool.spawn(|| 21);
    /// let whole = pool.spawn_async(async move { half.await.map(|half| half * 2) });
    /// assert_eq!(whole.join().unwrap().unwrap(), 42);
    /// ```
    #[track_caller]
    pub fn spawn_async<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        if const { is_large::<F>() } {
            let future: BoxedFuture<F::Output> = Box::pin(future);
            return self.spawn_async(future);
        }
        let registry = self.registry();
        // Only this pool's own workers may poll what they wait for.
        spawn_async_on(registry, future, registry.tag)
    }

    /// Calls `f` with each item and collects what it returns, in the order of the items.
    ///
    /// Items are divided among the workers as they become free; neither tiny nor very uneven items
    /// need tuning. `f` may borrow. After [`shutdown`](Self::shutdown) it runs in the caller.
    ///
    /// # Panics
    /// If `f` panics, items after that one may be left out, and the panic of the item with the
    /// lowest index is resumed here. Items not consumed and results are dropped before; panics of
    /// the results' destructors go no further, as in [`join`](Self::join).
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let names = vec!["ada".to_string(), "grace".to_string()];
    /// let lengths = pool.map(&names, |name| name.len());
    /// assert_eq!(lengths, [3, 5]);
    /// ```
    pub fn map<I, R, F>(&self, items: I, f: F) -> Vec<R>
    where
        I: Items,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        let registry = self.registry();
        let never_fails = |item| Ok::<R, Infallible>(f(item));
        let Ok(results) = try_map(registry, items.into_source(Seal), never_fails);
        drop(f); // before the results are returned, which its destructor's panic would leak
        results
    }

    /// Maps without waiting: one task for all items, which async code can
    /// await.
    ///
    /// A thread that waits for the task may run it itself, as with [`spawn`](Self::spawn).
    /// [Cancelled](Task::cancel), the task begins no further item, and drops those that are
    /// left; an item that is running sees it in
    /// [`CancelToken::current`](crate::CancelToken::current), which all of them share. After
    /// [`shutdown`](Self::shutdown) the task ends in [`TaskError::Closed`].
    ///
    /// If `f` panics, the task ends in [`TaskError::Panicked`]: that of the item with the lowest
    /// index. A panic while the items are collected is the task's, too.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let squares = trefoil::run(async move { pool.map_task(1..=4_u64, |n| n * n).await });
    /// assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
    /// ```
    #[track_caller]
    pub fn map_task<I, R, F>(&self, items: I, f: F) -> Task<Vec<R>>
    where
        I: Items + Send + 'static,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        if const { is_large::<F>() } {
            let f: Box<dyn Fn(I::Item) -> R + Send + Sync> = Box::new(f);
            return self.map_task(items, f);
        }
        let registry = Arc::clone(self.registry());
        let tag = registry.claim_tag();
        // A future, because that can be cancelled while it runs. It never waits.
        let all = async move {
            let token = CancelToken::current();
            let unless_cancelled = move |item| {
                if token.is_cancelled() {
                    Err(())
                } else {
                    Ok(f(item))
                }
            };
            let results = try_map(&registry, items.into_source(Seal), unless_cancelled);
            // If the task has been cancelled, this result is not seen. Otherwise an item has
            // cancelled the token.
            let stopped =
                |()| resume_unwind(Box::new("an item has cancelled the token of its map"));
            results.unwrap_or_else(stopped)
        };
        spawn_async_on(self.registry(), all, tag)
    }

    /// Maps with a result for each item: a panic of `f` is that of its item, and harms no other.
    /// Returns the outcomes in the order of the items.
    ///
    /// The only error is [`TaskError::Panicked`], which has the panic's message and location.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let halves = pool.map_each([8, 0, 2], |n| 16 / n);
    /// assert!(matches!(halves[..], [Ok(2), Err(trefoil::TaskError::Panicked(_)), Ok(8)]));
    /// ```
    pub fn map_each<I, R, F>(&self, items: I, f: F) -> Vec<Result<R, TaskError>>
    where
        I: Items,
        R: Send,
        F: Fn(I::Item) -> R + Sync,
    {
        let mut results = self.map(items, |item| catch(|| f(item)).map_err(TaskError::from));
        for (index, result) in results.iter_mut().enumerate() {
            if let Err(error) = result {
                *error = std::mem::replace(error, TaskError::Closed).with_item(index);
            }
        }
        drop(f); // as in `map`
        results
    }

    /// Calls `f` with each item, and returns when all calls have ended; see [`map`](Self::map).
    ///
    /// # Panics
    /// As [`map`](Self::map).
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let mut numbers = [1, 2, 3];
    /// pool.for_each(&mut numbers, |number| *number *= 2);
    /// assert_eq!(numbers, [2, 4, 6]);
    /// ```
    pub fn for_each<I, F>(&self, items: I, f: F)
    where
        I: Items,
        F: Fn(I::Item) + Sync,
    {
        self.map(items, f);
    }

    /// Calls `map` with each item and reduces what it returns to one value, from left to right:
    /// `reduce` must be associative but need not be commutative.
    ///
    /// How the values are grouped depends on how many items there are (and on the adaptors of a
    /// parallel iterator), not on the pool or on time: a sum of floats has the same bits each time
    /// (except over hash tables and [`par_bridge`](crate::iter::ParallelBridge::par_bridge), whose
    /// order may differ). `identity` is the value of no items at all.
    ///
    /// # Panics
    /// As [`map`](Self::map). But the values so far belong to the reduction, as in a sequential one:
    /// if one is dropped because a call panics, its destructor must not panic.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let text = pool.map_reduce(0..5, |i| i.to_string(), String::new, |left, right| left + &right);
    /// assert_eq!(text, "01234");
    /// ```
    pub fn map_reduce<I, R, M, N, F>(&self, items: I, map: M, identity: N, reduce: F) -> R
    where
        I: Items,
        R: Send,
        M: Fn(I::Item) -> R + Sync,
        N: Fn() -> R,
        F: Fn(R, R) -> R + Sync,
    {
        let registry = self.registry();
        if const { is_large::<M>() || is_large::<F>() } {
            let map: Box<dyn Fn(I::Item) -> R + Sync> = Box::new(map);
            let reduce: Box<dyn Fn(R, R) -> R + Sync> = Box::new(reduce);
            return self.map_reduce(items, map, identity, reduce);
        }
        match map_reduce(registry, items.into_source(Seal), RUN, map, reduce) {
            Some(value) => value,
            None => identity(),
        }
    }

    /// Maps an `f` that can fail; stops early.
    ///
    /// # Errors
    /// The error of the item with the lowest index that fails: the one that a loop would have met.
    ///
    /// # Panics
    /// Like [`map`](Self::map), unless an item before it fails.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let parse = |text: &&str| text.parse::<u8>();
    /// assert_eq!(pool.try_map(&["1", "2"], parse), Ok(vec![1, 2]));
    /// assert!(pool.try_map(&["1", "x", "300"], parse).unwrap_err().to_string().contains("digit"));
    /// ```
    pub fn try_map<I, R, E, F>(&self, items: I, f: F) -> Result<Vec<R>, E>
    where
        I: Items,
        R: Send,
        E: Send,
        F: Fn(I::Item) -> Result<R, E> + Sync,
    {
        try_map(self.registry(), items.into_source(Seal), f)
    }

    /// Calls `f` on the workers with each item of an iterator, which may be endless and may block,
    /// and yields the results in the order of the items, each as soon as it is ready and due.
    ///
    /// No item is taken before the first `next`. From then on items are pulled and worked on ahead
    /// of it, never more at once than the [`buffer`](Imap::buffer). The iterator runs on a
    /// thread of its own outside the pool, so it may block, even without end, without holding up
    /// finished results or the pool. A thread that waits in `next` may run the item that it
    /// waits for itself, as with `map`.
    ///
    /// On an event-loop thread `next` blocks the loop; [`stream`](Imap::stream) does not.
    /// After [`shutdown`](Self::shutdown) the items run on the iterator's thread, one by one; those
    /// that were queued before run on the pool, also with [`Shutdown::CancelPending`].
    ///
    /// Cost: the thread, and some microseconds for each item, or less than one with a large
    /// [`buffer`](Imap::buffer).
    ///
    /// # Panics
    /// `next` resumes the panic of an item where its result is due. A caller that catches it can
    /// continue: only that result is missing. A panic of the input is resumed after the results of
    /// the items before it, and ends the iteration.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let squares = pool.imap(1_u64.., |n| n * n);
    /// let small: Vec<u64> = squares.take_while(|&square| square < 50).collect();
    /// assert_eq!(small, [1, 4, 9, 16, 25, 36, 49]);
    /// ```
    pub fn imap<I, R, F>(&self, items: I, f: F) -> Imap<R>
    where
        I: IntoIterator<Item: Send, IntoIter: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let registry = self.registry();
        if const { is_large::<F>() } {
            return Imap::new(registry, items.into_iter(), Box::new(f), true);
        }
        Imap::new(registry, items.into_iter(), f, true)
    }

    /// Yields results in the order in which items end; for the rest see [`imap`](Self::imap).
    ///
    /// # Panics
    /// As for `imap`, but the panic of an item is resumed as soon as it occurs.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(2);
    /// let sum: u64 = pool.imap_unordered(vec![1, 2, 3], |n| n * n).sum();
    /// assert_eq!(sum, 14);
    /// ```
    pub fn imap_unordered<I, R, F>(&self, items: I, f: F) -> Imap<R>
    where
        I: IntoIterator<Item: Send, IntoIter: Send + 'static>,
        R: Send + 'static,
        F: Fn(I::Item) -> R + Send + Sync + 'static,
    {
        let registry = self.registry();
        if const { is_large::<F>() } {
            return Imap::new(registry, items.into_iter(), Box::new(f), false);
        }
        Imap::new(registry, items.into_iter(), f, false)
    }

    /// Runs `f` on one of the pool's threads and waits for it; if the caller is one, runs it
    /// directly. Inside, `trefoil::join` and similar functions use this pool. After
    /// [`shutdown`](Self::shutdown) it runs in the caller.
    ///
    /// # Panics
    /// If `f` does.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let sum = pool.install(|| trefoil::join(|| 1, || 2));
    /// assert_eq!(sum, (1, 2));
    /// ```
    pub fn install<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        if const { is_large::<F>() } {
            let f: BoxedCall<'_, R> = Box::new(f);
            return self.install(f);
        }
        let registry = self.registry();
        if const { is_large::<R>() } {
            return *registry.enter(EnterMode::OwnThread, |_| Box::new(f()));
        }
        registry.enter(EnterMode::OwnThread, |_| f())
    }

    /// Runs `f`, which blocks in a way that the pool cannot see (a system call, a lock, another
    /// crate's channel), while another thread takes this worker's place.
    ///
    /// This crate's own waits do that automatically. On a thread that is not a worker, `f` is
    /// simply called, and nothing else happens; on a worker of another pool, that pool replaces its
    /// worker meanwhile.
    ///
    /// # Panics
    /// If `f` does.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let answer = pool.install(|| {
    ///     let (send, receive) = std::sync::mpsc::channel();
    ///     // Only another thread of the pool can send it.
    ///     trefoil::spawn_blocking(move || send.send(42).unwrap()).detach();
    ///     pool.blocking(|| receive.recv().unwrap())
    /// });
    /// assert_eq!(answer, 42);
    /// ```
    pub fn blocking<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        if !current::with_home(|home| home.is_some()) {
            return f();
        }
        park::blocked(|| {
            let _noted = events::part("blocking");
            f()
        })
    }

    /// Ends the pool, for all its handles: refuses new work, runs or cancels queued work as `how`
    /// says, and joins the threads. A second call waits for the end.
    ///
    /// With [`Shutdown::Wait`], what was accepted before is done, with all that the pool's own
    /// tasks spawn in the meantime; what comes later from outside is not waited for, even if it
    /// never ends. A future that still waits ends in [`TaskError::Closed`]. So this does not return
    /// where the pool's own work has no end: a task always spawns a successor; futures are always
    /// awake, because they wake themselves or one another, or because some thread goes on waking
    /// them; a worker runs its part of a map or a `par_bridge` without end ([`until`](Self::until)
    /// a token is cancelled, it has one).
    ///
    /// With [`Shutdown::CancelPending`], futures end in [`TaskError::Cancelled`], also those that
    /// are always awake, as do all tasks that have not begun (but not items of an
    /// [`imap`](Self::imap), which a consumer waits for, and no tasks of scopes).
    ///
    /// A `map`, a `join` or a `scope` of a thread from outside continues meanwhile, on that thread
    /// alone, as soon as the workers have done what they have begun of it, and the tasks that it
    /// had queued in its scope before.
    ///
    /// On one of the pool's own workers, or in a hook, this joins all threads except those that are
    /// inside `shutdown` themselves. If a task, a half of a join, a task of a scope or an item
    /// calls it, no other worker of the pool may wait for that work, as one does for the items of a
    /// [`map_task`](Self::map_task): each would wait for the other.
    ///
    /// In a forked child, which has none of the threads, the parent's pool counts as shut down, and
    /// its unfinished tasks have ended in `Closed`.
    ///
    /// Afterwards `spawn` returns tasks that end in [`TaskError::Closed`]; `map`, `for_each`,
    /// `join`, `scope` and `install` run in the caller.
    ///
    /// ```
    /// use trefoil::{Shutdown, TaskError, ThreadPool};
    ///
    /// let pool = ThreadPool::with_threads(1);
    /// let task = pool.spawn(|| 42);
    /// pool.shutdown(Shutdown::Wait);
    /// assert_eq!(task.join().unwrap(), 42);
    /// assert!(matches!(pool.spawn(|| 43).join(), Err(TaskError::Closed)));
    /// ```
    pub fn shutdown(&self, how: Shutdown) {
        shutdown::shutdown(self.registry(), how);
    }

    /// Drops this handle without waiting. If it is the last one, the pool ends when its work is
    /// done: spawned tasks run, and then the threads end. (If `main` returns before, the process
    /// ends first.)
    ///
    /// If the system refuses the one thread that this needs, it waits like a drop.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let (go, gate) = mpsc::channel::<()>();
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// pool.spawn(move || {
    ///     gate.recv().unwrap();
    ///     sender.send("done").unwrap();
    /// })
    /// .detach();
    /// pool.detach(); // to drop it would wait without end here
    /// go.send(()).unwrap();
    /// assert_eq!(receiver.recv().unwrap(), "done");
    /// ```
    pub fn detach(self) {
        if let Some(mut last) = Arc::into_inner(self.end) {
            last.leaves = true;
        }
    }
}

/// Shared by all handles of a pool: dropped with the last of them, which ends the pool.
struct LastHandle {
    registry: Arc<Registry>,
    /// Nothing waits for the pool's end.
    leaves: bool,
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        let registry = self.registry.present();
        let helps = current::with(|inside| inside.is_some_and(|at| registry.is(at.registry())));
        if self.leaves || helps || registry.is_home() {
            // Another task of the pool may wait for the code that runs here, so waiting for that
            // task would deadlock.
            let registry = Arc::clone(registry);
            if blocking_threads::start(move || shutdown::end(&registry, Shutdown::Wait)).is_ok() {
                return;
            }
        }
        shutdown::end(registry, Shutdown::Wait);
    }
}

// A panic of user code leaves no part of the pool half changed.
impl UnwindSafe for ThreadPool {}
impl RefUnwindSafe for ThreadPool {}

debug!(
    impl ThreadPool,
    self,
    threads = self.num_threads(),
    sleep = self.registry.sleep
);
