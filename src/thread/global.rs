//! The global pool, for callers that do not name one.
//!
//! **Job.** `trefoil::join`, `scope`, `spawn_blocking` and the parallel iterators use the pool that
//! this thread is inside, otherwise the global pool, which is created when it is first needed and
//! lives as long as the process.
//!
//! A forked child, which has none of its parent's threads, gets its own global pool when it first
//! needs one.
//!
//! If the system refuses the threads of the global pool, there is no caller to return the error to:
//! it is created with one thread, and if not even that is possible, the call panics with a message.
//! `build_global` returns the error.
//!
//! Tests: `tests/thread/pool.rs::the_global_pool_is_one_and_serves_the_free_functions`.

use std::io;

use super::builder::ThreadPoolBuilder;
use super::engine::raw_current as current;
use super::engine::registry::Registry;
use super::join::fork::{self, JoinPool};
use super::map::divide::{FoldPosition, Limit, Region};
use super::map::raw_fill::Places;
use super::map::results;
use super::map::source::{Producer, Seal, Shape, Source};
use super::pool::ThreadPool;
use super::scope::raw_scope::Scope;
use super::scope::scoped_task::{self, BoxedBody};
use super::spawn::spawn_on;
use crate::large::{BoxedCall, is_large};
use crate::loom::Arc;
use crate::sys::fork::PerProcess;
use crate::task::Task;
use crate::thread::engine::lent::raw_job::in_turn;
use crate::thread::engine::worker::join_window;

static GLOBAL: PerProcess<ThreadPool> = PerProcess::new();

impl ThreadPool {
    /// Creates the global pool at its first call, and returns it: the pool for code that does not
    /// create its own.
    ///
    /// ```
    /// let squares = trefoil::ThreadPool::global().map(&[1, 2, 3], |n| n * n);
    /// assert_eq!(squares, [1, 4, 9]);
    /// ```
    ///
    /// # Panics
    /// If the system refuses even one thread for it.
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(|| {
            let pool = Self::builder()
                .build()
                .or_else(|_| Self::builder().threads(1).build());
            pool.unwrap_or_else(|error| {
                panic!(
                    "trefoil: the global pool could not start a thread: {error}; \
                     ThreadPool::builder().build_global() returns this error"
                )
            })
        })
    }
}

impl ThreadPoolBuilder {
    /// Makes the [global pool](ThreadPool::global).
    ///
    /// ```
    /// let global = trefoil::ThreadPool::builder().threads(2).build_global()?;
    /// assert_eq!(global.num_threads(), 2);
    /// assert!(trefoil::ThreadPool::builder().build_global().is_err()); // there is one already
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is one already; otherwise those of
    /// [`build`](Self::build).
    pub fn build_global(self) -> io::Result<&'static ThreadPool> {
        if GLOBAL.get().is_none() {
            let mut pool = Some(self.build()?);
            let global = GLOBAL.get_or_init(|| pool.take().expect("made once"));
            if pool.is_none() {
                return Ok(global);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a global thread pool already",
        ))
    }
}

/// Calls `f` with the pool that this thread is inside, otherwise the global one.
pub(super) fn here<R>(f: impl FnOnce(&Arc<Registry>) -> R) -> R {
    current::with(|worker| match worker {
        Some(worker) => f(worker.registry()),
        None => f(ThreadPool::global().registry()),
    })
}

/// Runs `a` and `b`, perhaps at the same time, and returns both results: on the pool that this
/// thread works for, else on the [global](ThreadPool::global) one. See [`ThreadPool::join`].
///
/// ```
/// fn sum(numbers: &[u64]) -> u64 {
///     if numbers.len() < 1000 {
///         return numbers.iter().sum();
///     }
///     let (left, right) = numbers.split_at(numbers.len() / 2);
///     let (left, right) = trefoil::join(|| sum(left), || sum(right));
///     left + right
/// }
/// assert_eq!(sum(&[1; 10_000]), 10_000);
/// ```
///
/// # Panics
/// As [`ThreadPool::join`].
#[inline]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    if const { is_large::<A>() || is_large::<B>() } {
        let (a, b): (BoxedCall<'_, RA>, BoxedCall<'_, RB>) = (Box::new(a), Box::new(b));
        return join(a, b);
    }
    if const { is_large::<RA>() || is_large::<RB>() } {
        let (a, b) = join_direct(|| Box::new(a()), || Box::new(b()));
        return (*a, *b);
    }
    join_direct(a, b)
}

/// Like [`join`], for results that are not large.
#[inline(always)]
fn join_direct<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    // The one function whose cost is counted in nanoseconds.
    if join_window::step() || fork::runs_in_turn(0) {
        return in_turn(a, b);
    }
    fork::join_offered(JoinPool::Current(|| ThreadPool::global().registry()), a, b)
}

/// Runs `f` with a [`Scope`] in which it can spawn tasks that borrow, and returns when all of them
/// have ended. See [`ThreadPool::scope`].
///
/// ```
/// let mut words = ["b", "c", "a"];
/// let (text, total) = (String::from("abc"), std::sync::Mutex::new(0));
/// trefoil::scope(|s| {
///     s.spawn(|| words.sort());
///     s.spawn(|| *total.lock().unwrap() += text.len());
/// });
/// assert_eq!((words, total.into_inner().unwrap()), (["a", "b", "c"], 3));
/// ```
///
/// # Panics
/// As [`ThreadPool::scope`].
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    if const { is_large::<F>() } {
        let f: BoxedBody<'_, 'env, R> = Box::new(f);
        return scope(f);
    }
    here(|registry| scoped_task::scope(registry, f))
}

/// Spawns `f`, which may compute or block, on the pool that this thread works for, else on the
/// [global](ThreadPool::global) one. See [`ThreadPool::spawn`].
///
/// As many calls that compute run at once as the pool is wide (on Linux). A call that waits (it
/// sleeps, reads from a network, waits for a lock) uses no processor: if others are queued, the
/// pool notices that within some ten milliseconds, and another thread takes its place, up to 512 at
/// a time (rarely more). To avoid that delay, call [`ThreadPool::blocking`] inside `f`.
///
/// A future that `f` returns is not run: use [`spawn`](crate::spawn) on a loop, or
/// [`ThreadPool::spawn_async`].
///
/// If a call is cancelled before it has begun, `f` never runs; later, `f` sees the cancellation in
/// [`CancelToken::current`](crate::CancelToken::current).
///
/// ```
/// use std::{thread::sleep, time::{Duration, Instant}};
///
/// let start = Instant::now();
/// let naps: Vec<_> = (0..20)
///     .map(|_| trefoil::spawn_blocking(|| sleep(Duration::from_millis(200))))
///     .collect();
/// for nap in naps {
///     nap.join().unwrap();
/// }
/// assert!(start.elapsed() < Duration::from_secs(2)); // not four
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if const { is_large::<F>() } {
        let f: BoxedCall<'_, T> = Box::new(f);
        return spawn_blocking(f);
    }
    // A pool with exclusive indices cannot run more calls than it is wide.
    let pool = |here: &Arc<Registry>| match &here.exclusive {
        Some(_) => Arc::clone(ThreadPool::global().registry()),
        None => Arc::clone(here),
    };
    let registry = here(pool); // (`spawn_on` notes its caller.)
    spawn_on(&registry, || super::spawn_blocking::run(f))
}

// ---- for the parallel iterators --------------------------------------------

/// Folds all items, divided as the work goes; `None`: there was no value.
pub(crate) fn divide<P, A, F, J>(shape: Shape, items: P, fold: F, join: J) -> Option<A>
where
    P: Producer,
    A: Send,
    F: Fn(FoldPosition<'_>, Option<A>, P) -> Option<A> + Sync,
    J: Fn(A, A) -> A + Sync,
{
    here(|registry| Region::new(&Limit::new(), shape, fold, join).divide(registry, items))
}

/// Like [`divide`], along a fixed tree, so that the grouping depends only on the number of items
/// and the shape.
pub(crate) fn divide_fixed<P, A, F, J>(shape: Shape, items: P, fold: F, join: J) -> Option<A>
where
    P: Producer,
    A: Send,
    F: Fn(FoldPosition<'_>, Option<A>, P) -> Option<A> + Sync,
    J: Fn(A, A) -> A + Sync,
{
    here(|registry| Region::new(&Limit::new(), shape, fold, join).divide_fixed(registry, items))
}

/// Combines the results of `map` two by two; see [`results::map_reduce`].
pub(crate) fn map_reduce<S: Source, R: Send>(
    source: S,
    run: usize,
    map: impl Fn(S::Item) -> R + Sync,
    reduce: impl Fn(R, R) -> R + Sync,
) -> Option<R> {
    here(|registry| results::map_reduce(registry, source, run, map, reduce))
}

/// Appends all items of a source, whose shape is exact, to a vector.
pub(crate) fn append_all<S: Source>(source: &mut S, vec: &mut Vec<S::Item>) {
    let (shape, limit) = (source.shape(Seal), Limit::new());
    let items = source.open(Seal);
    let fill = |_: FoldPosition<'_>, items: S::Producer<'_>, places: &mut Places<'_, _>| {
        places.extend(items.forward());
    };
    let all = here(|registry| results::append(registry, &limit, shape, items, vec, fill));
    assert!(all, "a parallel iterator gave fewer items than it has");
}

/// All values of a source; or the error of the lowest index.
pub(crate) fn try_collect<S, R: Send, E: Send>(source: S) -> Result<Vec<R>, E>
where
    S: Source<Item = Result<R, E>>,
{
    here(|registry| results::try_map(registry, source, |item| item))
}

/// The width of the pool that this thread's parallel iterators use.
pub(crate) fn width() -> usize {
    here(|registry| registry.sleep.width())
}
