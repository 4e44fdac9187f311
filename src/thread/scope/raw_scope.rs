//! A scope: the right to lend to its pool what lives for `'scope`.
//!
//! - **P16** [`open`] ends only when nothing is lent any more, and nothing is lent outside it: the
//!   only [`Scope`] is the one that it passes to the body, and `'scope`, during which that is
//!   borrowed, ends with what the body has lent.
//!
//! Tests: `tests/thread/pool.rs::{a_scope_lends_collects_and_nests,
//! what_a_scope_was_given_is_dropped_when_it_ends}`, the `compile_fail` examples of `ScopedTask`.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::thread;

use crate::loom::Mutex;
use crate::loom::atomic::AtomicBool;
use crate::task::Panic;
use crate::thread::engine::lent::latch::Latch;
use crate::thread::engine::lent::raw_pair_arc::PairArc;
use crate::thread::engine::lent::raw_scope_counter::{
    EndedEntries, ErasedEntry, ScopeCounter, ScopeEntry, TrackedEntry,
};
use crate::thread::engine::registry::Registry;
use crate::thread::engine::worker::Worker;

/// Where the tasks of a [`scope`](crate::thread::ThreadPool::scope) are spawned.
///
/// A reference to it can be captured by the tasks themselves, which may then
/// spawn more.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use trefoil::Scope;
///
/// fn leaves<'scope>(scope: &'scope Scope<'scope, '_>, depth: u32, found: &'scope AtomicU32) {
///     if depth == 0 {
///         found.fetch_add(1, Relaxed);
///     } else {
///         scope.spawn_detached(move || leaves(scope, depth - 1, found));
///         leaves(scope, depth - 1, found);
///     }
/// }
///
/// let found = AtomicU32::new(0);
/// trefoil::ThreadPool::with_threads(2).scope(|scope| leaves(scope, 3, &found));
/// assert_eq!(found.into_inner(), 8);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    pub(in crate::thread) shared: ScopeState,
    // Invariant in both lifetimes, as in std: neither may be shortened by subtyping.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// The state of a scope that its tasks use. It outlives them.
pub(in crate::thread) struct ScopeState {
    /// Tasks that the pool has refused: only threads that wait for the scope can run them. This
    /// field is dropped before `counter`, because the tasks refer to it (P15); some are left to
    /// drop in a forked child, which does not wait.
    pub(in crate::thread) refused: Mutex<Vec<ErasedEntry>>,
    pub(in crate::thread) counter: ScopeCounter,
    /// The pool has refused tasks of this scope.
    pub(in crate::thread) orphaned: AtomicBool,
    pub(in crate::thread) registry: Arc<Registry>,
    /// Only [`open`] makes one.
    _open: (),
}

/// Runs `body` with a scope on the worker's pool; then `rest`, which runs what this thread can;
/// then `wait`, until nothing is lent any more: `wait` returns when the latch is set. Returns the
/// result of `body`, and the panics of tasks that no `join` has taken.
pub(in crate::thread) fn open<'env, F, R>(
    worker: &Worker,
    body: F,
    rest: impl FnOnce(&ScopeState),
    wait: impl FnOnce(&ScopeState, &Latch),
) -> (thread::Result<R>, Vec<Option<Panic>>)
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let scope = Scope {
        shared: ScopeState {
            refused: Mutex::default(),
            orphaned: AtomicBool::new(false),
            // SAFETY: P16: borrowed for this call, inside which `end_after` ends.
            counter: unsafe { ScopeCounter::new(&worker.slot().wake_handle) },
            registry: Arc::clone(worker.registry()),
            _open: (),
        },
        scope: PhantomData,
        env: PhantomData,
    };
    let shared = &scope.shared;
    let before = worker.enter_scope(shared.address());
    let result = shared.counter.end_after(
        &worker.ended,
        || body(&scope),
        || rest(shared),
        |latch| wait(shared, latch),
    );
    worker.leave_scope(before);
    (result, shared.counter.take_panics())
}

impl<'scope> Scope<'scope, '_> {
    /// Both halves of an entry that borrows for `'scope`: one for [`ToLend::lend`], one for its
    /// handle.
    #[inline(always)]
    pub(in crate::thread) fn pair<E: ScopeEntry + 'scope>(
        &'scope self,
        entry: E,
    ) -> (ToLend<'scope>, PairArc<TrackedEntry<E>>) {
        let (entry, handle) = self.shared.counter.pair(entry);
        (
            ToLend {
                entry,
                scope: &self.shared,
            },
            handle,
        )
    }

    /// An entry without a handle.
    #[inline(always)]
    pub(in crate::thread) fn alone<E: ScopeEntry + 'scope>(
        &'scope self,
        entry: E,
    ) -> ToLend<'scope> {
        let (entry, scope) = (self.shared.counter.alone(entry), &self.shared);
        ToLend { entry, scope }
    }
}

/// An entry that its scope will lend, or drop.
pub(in crate::thread) struct ToLend<'scope> {
    entry: PairArc<TrackedEntry<dyn ScopeEntry + 'scope>>,
    pub(in crate::thread) scope: &'scope ScopeState,
}

impl ToLend<'_> {
    /// Lends it; see [`ScopeCounter::lend`].
    pub(in crate::thread) fn lend(self, ended: Option<&EndedEntries>) -> ErasedEntry {
        // SAFETY: P16: its scope is borrowed for `'scope`, so `open` is inside `end_after`, and
        // what the entry borrows outlives that.
        unsafe { self.scope.counter.lend(self.entry, ended) }
    }
}

impl ScopeState {
    /// Runs a task of the scope on this thread, unless it has been begun, in the context that the
    /// scope has inherited, whatever else runs here.
    pub(in crate::thread) fn run_here(&self, task: &dyn ScopeEntry) {
        // SAFETY: P16: this is borrowed from the scope of an `open` that has not ended. `alone` is
        // false.
        unsafe { self.counter.run(task, false) };
    }

    /// Makes the thread that waits for the scope's end check again.
    pub(in crate::thread) fn wake_waiter(&self) {
        // SAFETY: P16: as above, and the handle outlives that.
        unsafe { self.counter.waiter.as_ref() }.wake();
    }

    /// An address that distinguishes scopes that are open at the same time.
    pub(in crate::thread) fn address(&self) -> usize {
        ptr::from_ref(&self.counter).addr()
    }
}

#[cfg(all(test, unix, not(loom), not(miri)))]
mod tests {
    use super::open;
    use crate::thread::ThreadPool;
    use crate::thread::engine::lent::abort_on_unwind::tests::alone;

    #[test]
    fn the_end_of_a_scope_does_not_unwind() {
        let test = "the_end_of_a_scope_does_not_unwind";
        let signal = alone(module_path!(), test, || {
            let pool = ThreadPool::with_threads(1);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.registry().as_worker(&mut |worker| {
                    let rest = |_: &_| panic!("a mistake of this crate");
                    open(worker, |_| (), rest, |_, latch| worker.wait_for(latch))
                        .0
                        .unwrap();
                });
            }));
        });
        assert_eq!(signal, Some(libc::SIGABRT));
    }
}
