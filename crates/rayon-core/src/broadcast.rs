//! A closure called once on each thread.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Arc;

use crate::here;
use crate::pool::Pool;

/// Tells the closure of a broadcast on which thread it runs.
pub struct BroadcastContext<'a> {
    index: usize,
    threads: usize,
    // It belongs to the thread.
    _thread: PhantomData<&'a mut dyn Fn()>,
}

impl BroadcastContext<'_> {
    pub(crate) fn new(index: usize, threads: usize) -> Self {
        Self {
            index,
            threads,
            _thread: PhantomData,
        }
    }

    /// The index of the thread.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many threads the broadcast reaches.
    #[inline]
    pub fn num_threads(&self) -> usize {
        self.threads
    }
}

impl fmt::Debug for BroadcastContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastContext")
            .field("index", &self.index)
            .field("num_threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// Calls `op` once on each thread of the current pool, and returns the results in the order of the
/// indices. (With `use_current_thread` it waits until that thread waits for the pool, or is the
/// caller.)
///
/// # Panics
/// If a call does, when all have ended.
pub fn broadcast<OP, R>(op: OP) -> Vec<R>
where
    OP: Fn(BroadcastContext<'_>) -> R + Sync,
    R: Send,
{
    broadcast_in(&here::pool(), op)
}

pub(crate) fn broadcast_in<OP, R>(pool: &Pool, op: OP) -> Vec<R>
where
    OP: Fn(BroadcastContext<'_>) -> R + Sync,
    R: Send,
{
    let (threads, first) = (pool.shared().threads, pool.shared().first());
    let call = |index| op(BroadcastContext::new(index, threads));
    let caught = || catch_unwind(AssertUnwindSafe(|| call(0)));
    let (seat, seated) = (pool.shared().seat.as_ref(), here::seated());
    // trefoil cannot reach a thread that is no worker of its.
    let of_seat = seat.map(|seat| {
        let mine = here::seat(seated.as_ref()).is_some_and(|mine| ptr::eq(mine, seat));
        if mine || seat.is_used_here() {
            caught()
        } else {
            seat.wait_and_run(pool.trefoil(), caught)
        }
    });
    let rest = here::waiting(|| pool.trefoil().broadcast(|index| call(first + index)));
    let of_seat = of_seat.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)));
    of_seat.into_iter().chain(rest).collect()
}

/// Calls `op` once on each thread of the current pool, without waiting for that. (With
/// `use_current_thread`, on that thread when it waits for the pool.)
///
/// A panic goes to the pool's handler; without one, the process aborts.
pub fn spawn_broadcast<OP>(op: OP)
where
    OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
{
    spawn_broadcast_in(&here::pool(), op);
}

pub(crate) fn spawn_broadcast_in<OP>(pool: &Pool, op: OP)
where
    OP: Fn(BroadcastContext<'_>) + Send + Sync + 'static,
{
    let (theirs, first) = (pool.clone(), pool.shared().first());
    let threads = pool.shared().threads;
    let call = Arc::new(move |index| {
        theirs
            .shared()
            .run_alone(|| op(BroadcastContext::new(index, threads)));
    });
    let of_seat = Arc::clone(&call);
    let all = move |index| call(first + index);
    pool.trefoil().spawn_broadcast(all).detach();
    if pool.shared().seat.is_some() {
        // trefoil cannot reach a thread that is no worker of its.
        let theirs = pool.clone();
        pool.spawn(move || {
            if let Some(seat) = &theirs.shared().seat {
                seat.bring(Box::new(move || of_seat(0)));
            }
        });
    }
}
