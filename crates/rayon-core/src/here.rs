//! What the calling thread is: a worker, a thread that helps, or neither; and which pool it is in.
//!
//! A thread's `SEAT` is read by every `join`, so it is one byte without a destructor. Workers of
//! trefoil's pools do not know of it at first; a worker that asks once is marked for good, since it
//! stays a worker until it ends. A thread from outside is marked for as long as it helps.
//!
//! `POOL` is set on the threads of pools that a [`ThreadPoolBuilder`](crate::ThreadPoolBuilder) has
//! made. Where it is not, the pool is the global one, or one of trefoil's own: then `join` and
//! `scope` use that, and the rest uses the global pool.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::ptr;
use std::sync::Arc;

use crate::pool::{self, Pool, Shared};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Not asked yet, or no thread of a pool.
    Unknown,
    /// A worker: `trefoil::join` finds the pool.
    Worker,
    /// A thread from outside, for as long as it helps the global pool: as above.
    Helper,
}

/// A thread's part in a pool of ours.
struct Part {
    pool: Arc<Shared>,
    /// Its index, if it is not a worker of trefoil's.
    member: Option<usize>,
}

thread_local! {
    static SEAT: Cell<Seat> = const { Cell::new(Seat::Unknown) };
    static POOL: RefCell<Option<Part>> = const { RefCell::new(None) };
}

/// Distinguishes the threads of one moment.
#[inline]
pub(crate) fn token() -> usize {
    SEAT.with(|seat| ptr::from_ref(seat).addr())
}

/// This thread works in a pool already, so that `trefoil::join` is to be called as it is.
#[inline]
pub(crate) fn is_inside() -> bool {
    SEAT.get() != Seat::Unknown || is_worker()
}

#[cold]
fn is_worker() -> bool {
    let is_worker = trefoil::thread::current().is_some();
    if is_worker {
        SEAT.set(Seat::Worker);
    }
    is_worker
}

/// Marks this thread as inside until it is dropped.
struct Helping;

impl Drop for Helping {
    fn drop(&mut self) {
        SEAT.set(Seat::Unknown);
    }
}

/// Calls `f`, which uses the current pool: here, if this thread is in one. If it belongs to one
/// without being a worker there, a worker calls `f`; else this thread helps the global pool.
#[inline]
pub(crate) fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if is_inside() { f() } else { outside(f) }
}

#[cold]
fn outside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    match own_pool() {
        Some(pool) => pool.trefoil().install(f),
        None if pool::global().callers_help => helping(f),
        None => trefoil::ThreadPool::global().install(f),
    }
}

/// Calls `f` here, whatever this thread is, with the pool in which its scope is to be if that is
/// not the current one.
pub(crate) fn in_place<R>(f: impl FnOnce(Option<&trefoil::ThreadPool>) -> R) -> R {
    if is_inside() {
        return f(None);
    }
    match own_pool() {
        Some(pool) => f(Some(pool.trefoil())),
        None => helping(|| f(None)),
    }
}

/// Calls `f` on a thread that is in no pool: it helps the global one for as long.
fn helping<R>(f: impl FnOnce() -> R) -> R {
    pool::global();
    SEAT.set(Seat::Helper);
    let _helping = Helping;
    f()
}

/// What `f` says of this thread's part, if it has one.
fn part<R>(f: impl FnOnce(&Part) -> R) -> Option<R> {
    let part = POOL.try_with(|part| part.borrow().as_ref().map(f));
    part.ok().flatten() // an error: the thread ends
}

/// This thread belongs to `pool` from now on. A worker of trefoil's has no `member` index.
pub(crate) fn belong(pool: &Arc<Shared>, member: Option<usize>) {
    let pool = Arc::clone(pool);
    POOL.set(Some(Part { pool, member }));
}

/// This thread belongs to a pool.
pub(crate) fn belongs() -> bool {
    part(|_| ()).is_some() || trefoil::thread::current().is_some()
}

/// The pool of ours that this thread belongs to.
fn own_pool() -> Option<Pool> {
    part(|part| part.pool.own()).flatten()
}

/// The pool that this thread belongs to, or the global one.
pub(crate) fn pool() -> Pool {
    own_pool().unwrap_or_else(|| Pool::Global(pool::global()))
}

/// This thread's index in its pool; with `pool`, only if it belongs to that.
pub(crate) fn index_in(pool: Option<&Shared>) -> Option<usize> {
    let index = || trefoil::thread::current().map(|thread| thread.index());
    let own = part(|part| {
        let asked = pool.is_none_or(|pool| ptr::eq(&raw const *part.pool, pool));
        // One that consists of the thread that made it has a worker nevertheless.
        let last = part.pool.threads - 1;
        let worker = || Some((part.pool.members + index()?).min(last));
        part.member.or_else(worker).filter(|_| asked)
    });
    match own {
        Some(index) => index,
        None if pool.is_some() => None,
        // One of the global pool's, though it may be a worker's, too: code that runs in a pool
        // relies on having one.
        None if SEAT.get() == Seat::Helper => Some(pool::global().threads - 1),
        None => Some(pool::global_members() + index()?),
    }
}

/// How many threads the pool of this thread has, or else the global one.
pub fn current_num_threads() -> usize {
    if let Some(threads) = part(|part| part.pool.threads) {
        return threads;
    }
    let here = trefoil::thread::current();
    let workers = here.map_or_else(|| pool::global().workers(), |here| here.num_threads());
    workers + pool::global_members()
}

/// The index of this thread in its pool, below [`current_num_threads`]; `None` on a thread of no
/// pool.
///
/// Two threads may have the same index at a time: a thread from outside that takes part in the work
/// has the last one, and a thread that stands in for one that waits has that one's. So what a
/// program keeps for each index must bear two users (an atomic, a lock).
#[track_caller]
pub fn current_thread_index() -> Option<usize> {
    // rayon's own `par_bridge` takes a second thread with an index for the first one again, which
    // must not go on there.
    let helps = SEAT.get() == Seat::Helper;
    if helps
        && Location::caller()
            .file()
            .ends_with("src/iter/par_bridge.rs")
    {
        return None;
    }
    index_in(None)
}

/// Whether there is work in this thread's own queue; `None` on a thread of no pool.
///
/// trefoil's queues do not tell. What waits there is taken up by other threads, so the answer is
/// no.
pub fn current_thread_has_pending_tasks() -> Option<bool> {
    current_thread_index().map(|_| false)
}

/// The most threads that a pool can have.
pub fn max_num_threads() -> usize {
    1 << 15
}
