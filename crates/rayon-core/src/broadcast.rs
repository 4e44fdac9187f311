//! A closure called once on each thread.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
/// indices.
/// (With `use_current_thread`, the caller stands for that thread, and there is always another
/// one: the context has the number of calls.)
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
    let members = pool.shared().members;
    let threads = pool.trefoil().num_threads() + members;
    let call = |index| op(BroadcastContext::new(index, threads));
    // trefoil cannot reach a thread that is no worker of its: this thread stands for it.
    let first: Vec<_> = (0..members)
        .map(|index| catch_unwind(AssertUnwindSafe(|| call(index))))
        .collect();
    let rest = pool.trefoil().broadcast(|index| call(members + index));
    let first = first
        .into_iter()
        .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)));
    first.chain(rest).collect()
}

/// Calls `op` once on each thread of the current pool, without waiting for that.
/// (With `use_current_thread`, a task stands for that thread, and there is always another one: the
/// context has the number of calls.)
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
    let (theirs, members) = (pool.clone(), pool.shared().members);
    let threads = pool.trefoil().num_threads() + members;
    let call = Arc::new(move |index| {
        theirs
            .shared()
            .run_alone(|| op(BroadcastContext::new(index, threads)));
    });
    let stand_in = Arc::clone(&call);
    let all = move |index| call(members + index);
    pool.trefoil().spawn_broadcast(all).detach();
    if members > 0 {
        // trefoil cannot reach a thread that is no worker of its: a task stands for it.
        pool.clone()
            .spawn(move || (0..members).for_each(|index| stand_in(index)));
    }
}
