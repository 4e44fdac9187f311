//! Scopes: tasks that borrow.
//!
//! **First in, first out.** As in `spawn.rs`: a task takes whichever closure is first in the line
//! of the thread that has spawned it. Threads with the same remainder share a line, which keeps the
//! order of each.

use std::fmt;

use crate::broadcast::{self, BroadcastContext};
use crate::here;
use crate::pool::Pool;
pub use crate::raw_scope::{Scope, ScopeFifo};
use crate::spawn::Line;

type Task<'scope> = Box<dyn FnOnce(&ScopeFifo<'scope>) + Send + 'scope>;

/// What the tasks of a [`ScopeFifo`] share.
#[derive(Default)]
pub(crate) struct Lines<'scope>([Line<Task<'scope>>; 16]);

impl<'scope> Lines<'scope> {
    fn of(&self, index: usize) -> &Line<Task<'scope>> {
        &self.0[index % self.0.len()]
    }
}

impl<'scope> Scope<'scope> {
    /// Calls `body` once on each thread of the pool, before the scope ends.
    pub fn spawn_broadcast<BODY>(&self, body: BODY)
    where
        BODY: Fn(&Self, BroadcastContext<'_>) + Send + Sync + 'scope,
    {
        // A task of the scope runs in its pool.
        self.spawn(move |scope| {
            broadcast::broadcast_in(&here::pool(), |context| body(scope, context));
        });
    }
}

impl<'scope> ScopeFifo<'scope> {
    /// Spawns a task; the oldest that a thread has spawned runs first there.
    pub fn spawn_fifo<BODY>(&self, body: BODY)
    where
        BODY: FnOnce(&Self) + Send + 'scope,
    {
        let Some(thread) = trefoil::thread::current() else {
            // What comes from outside runs in its order as it is.
            return self.lend(body);
        };
        let index = thread.index();
        self.lines().of(index).push(Box::new(body));
        self.lend(move |scope| {
            if let Some(first) = scope.lines().of(index).pop() {
                first(scope);
            }
        });
    }

    /// Calls `body` once on each thread of the pool, before the scope ends.
    pub fn spawn_broadcast<BODY>(&self, body: BODY)
    where
        BODY: Fn(&Self, BroadcastContext<'_>) + Send + Sync + 'scope,
    {
        self.lend(move |scope| {
            broadcast::broadcast_in(&here::pool(), |context| body(scope, context));
        });
    }
}

/// Calls `op` with a [`Scope`], and returns when all of its tasks have ended.
///
/// # Panics
/// If `op` or a task does, when all have ended.
pub fn scope<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&Scope<'scope>) -> R + Send,
    R: Send,
{
    here::inside(|| Scope::open(None, op))
}

/// Calls `op` with a [`ScopeFifo`], and returns when all of its tasks have ended.
///
/// # Panics
/// As [`scope`].
pub fn scope_fifo<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&ScopeFifo<'scope>) -> R + Send,
    R: Send,
{
    here::inside(|| ScopeFifo::open(None, &Lines::default(), op))
}

/// As [`scope`]; `op` runs on the calling thread, whichever that is.
///
/// # Panics
/// As `scope`.
pub fn in_place_scope<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&Scope<'scope>) -> R,
{
    here::in_place(|pool| Scope::open(pool, op))
}

/// As [`scope_fifo`]; `op` runs on the calling thread, whichever that is.
///
/// # Panics
/// As `scope`.
pub fn in_place_scope_fifo<'scope, OP, R>(op: OP) -> R
where
    OP: FnOnce(&ScopeFifo<'scope>) -> R,
{
    here::in_place(|pool| ScopeFifo::open(pool, &Lines::default(), op))
}

pub(crate) fn in_place<'scope, R>(pool: &Pool, op: impl FnOnce(&Scope<'scope>) -> R) -> R {
    Scope::open(Some(pool.trefoil()), op)
}

pub(crate) fn in_place_fifo<'scope, R>(pool: &Pool, op: impl FnOnce(&ScopeFifo<'scope>) -> R) -> R {
    ScopeFifo::open(Some(pool.trefoil()), &Lines::default(), op)
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl fmt::Debug for ScopeFifo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFifo").finish_non_exhaustive()
    }
}
