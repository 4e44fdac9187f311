//! Which pool of ours the calling thread is in, and with which index.
//!
//! `PART` is set on the threads of pools that a [`ThreadPoolBuilder`](crate::ThreadPoolBuilder) has
//! made, and on those of the global one. All others are outside, those of trefoil's own pools, too,
//! where two threads may have the same index: what they call runs in a pool of ours.

use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;

use crate::pool::{self, Pool, PoolRecord};
use crate::seat::Seat;

/// A thread's part in a pool of ours.
struct Part {
    pool: Arc<PoolRecord>,
    /// It is the program's, in the pool's seat.
    is_seated: bool,
}

thread_local! {
    /// Its address distinguishes the threads of one moment.
    static TOKEN: u8 = const { 0 };
    static PART: RefCell<Option<Part>> = const { RefCell::new(None) };
}

/// Distinguishes the threads of one moment.
#[inline]
pub(crate) fn token() -> usize {
    TOKEN.with(|token| ptr::from_ref(token).addr())
}

/// This thread works in a pool of ours already, so that `trefoil::join` is to be called as it is.
#[inline]
pub(crate) fn is_inside() -> bool {
    trefoil::thread::has_exclusive_index()
}

/// Calls `f`, which uses the current pool: here, if this thread works in one, else on a worker of
/// the pool that it belongs to, or of the global one.
#[inline]
pub(crate) fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if is_inside() { f() } else { outside(f) }
}

#[cold]
fn outside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    waiting(|| pool().trefoil().install(f))
}

/// Calls `f`, in which this thread may wait for a pool.
pub(crate) fn waiting<R>(f: impl FnOnce() -> R) -> R {
    let seated = seated();
    let _away = seat(seated.as_ref()).map(Seat::away);
    f()
}

/// The pool in whose seat this thread is.
pub(crate) fn seated() -> Option<Arc<PoolRecord>> {
    part(|part| part.is_seated.then(|| Arc::clone(&part.pool))).flatten()
}

/// Its seat.
pub(crate) fn seat(seated: Option<&Arc<PoolRecord>>) -> Option<&Seat> {
    seated?.seat.as_ref()
}

/// Calls `f` here, whatever this thread is, with the pool in which its scope is to be if that is
/// not the current one.
pub(crate) fn in_place<R>(f: impl FnOnce(Option<&trefoil::ThreadPool>) -> R) -> R {
    if is_inside() {
        return f(None);
    }
    f(Some(pool().trefoil()))
}

/// What `f` says of this thread's part, if it has one.
fn part<R>(f: impl FnOnce(&Part) -> R) -> Option<R> {
    let part = PART.try_with(|part| part.borrow().as_ref().map(f));
    part.ok().flatten() // an error: the thread ends
}

/// This thread belongs to `pool` from now on: one of trefoil's, or the program's, in its seat.
pub(crate) fn belong(pool: &Arc<PoolRecord>, is_seated: bool) {
    let pool = Arc::clone(pool);
    PART.set(Some(Part { pool, is_seated }));
}

/// This thread belongs to a pool of ours.
pub(crate) fn belongs() -> bool {
    part(|_| ()).is_some()
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
pub(crate) fn index_in(pool: Option<&PoolRecord>) -> Option<usize> {
    part(|part| {
        let asked = pool.is_none_or(|pool| ptr::eq(&raw const *part.pool, pool));
        let index = if part.is_seated {
            Some(0)
        } else {
            trefoil::thread::current_index().map(|index| part.pool.first() + index)
        };
        index.filter(|_| asked)
    })
    .flatten()
}

/// How many threads the pool of this thread has, or else the global one.
pub fn current_num_threads() -> usize {
    part(|part| part.pool.threads).unwrap_or_else(|| pool::global().shared.threads)
}

/// The index of this thread in its pool, below [`current_num_threads`]; `None` on a thread of no
/// pool.
///
/// No two threads run with the same index at the same time. A thread that waits in a `join`, a
/// scope, `install` or `yield_now` may be replaced by another one, which has its index then. The
/// first one's code continues when that one's work has ended, as if it had called that.
pub fn current_thread_index() -> Option<usize> {
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
