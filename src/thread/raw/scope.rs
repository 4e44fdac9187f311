//! A scope: the right to lend to its pool what lives for `'scope`.
//!
//! - **P16** [`open`] ends only when nothing is lent any more, and nothing is lent outside of it: the only [`Scope`] is
//!   the one that it passes to the body, and `'scope`, during which that is borrowed, ends with what the body has lent.
//!
//! Tests: `tests/thread/pool.rs`, the `compile_fail` examples of `ScopedTask`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Arc;

use super::lent::{Entry, Lent};
use crate::loom::atomic::AtomicBool;
use crate::task::Panic;
use crate::thread::latch::Latch;
use crate::thread::registry::Registry;
use crate::thread::scope_queue::ScopeQueue;
use crate::thread::wake::WakeHandle;

/// Where the tasks of a [`scope`](crate::thread::ThreadPool::scope) are spawned.
///
/// A reference to it can be captured by the tasks themselves, which may then
/// spawn more.
pub struct Scope<'scope, 'env: 'scope> {
    pub(in crate::thread) shared: Shared,
    // Invariant in both lifetimes, as in std: neither may be shortened by subtyping.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// What the tasks share with their scope, and outlived by it.
pub(in crate::thread) struct Shared {
    pub(in crate::thread) registry: Arc<Registry>,
    pub(in crate::thread) queue: Arc<ScopeQueue>,
    /// The pool has refused a ticket: only waiters can run what is left.
    pub(in crate::thread) orphaned: AtomicBool,
    /// Only [`open`] makes one.
    _open: (),
}

/// Runs `body` with a scope, and then `wait`, until nothing is left that was lent: `wait` returns when the latch is set. What `body`
/// has returned, and the panics of tasks that no `join` has taken.
pub(in crate::thread) fn open<'env, F, R>(
    registry: &Arc<Registry>,
    waiter: WakeHandle,
    body: F,
    wait: impl FnOnce(&Latch, &Shared),
) -> (R, Vec<Option<Panic>>)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope {
        shared: Shared {
            registry: Arc::clone(registry),
            queue: Arc::new(ScopeQueue::new(waiter)),
            orphaned: AtomicBool::new(false),
            _open: (),
        },
        scope: PhantomData,
        env: PhantomData,
    };
    let shared = &scope.shared;
    let body = || body(&scope);
    let result = shared
        .queue
        .lender
        .end_after(body, |latch| wait(latch, shared));
    let panics = std::mem::take(&mut *shared.queue.lender.panics.lock());
    (result, panics)
}

impl<'scope> Scope<'scope, '_> {
    /// Lends an entry that borrows for `'scope`.
    pub(in crate::thread) fn lend(&'scope self, entry: Arc<dyn Entry + 'scope>) -> Lent {
        // SAFETY: P16: this scope is borrowed for `'scope`, so `open` is inside of `end_after`, and what the entry borrows
        // outlives that.
        unsafe { self.shared.queue.lender.lend(entry) }
    }
}

impl Shared {
    /// Runs a task of the scope on this thread, unless it has been begun: as a part of what
    /// its scope is in, whatever else runs here.
    pub(in crate::thread) fn run_here(&self, task: &dyn Entry) {
        // SAFETY: P16: this is borrowed from the scope of an `open` that has not ended.
        unsafe { self.queue.lender.run(task) };
    }
}
