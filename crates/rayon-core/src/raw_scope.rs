//! A scope of trefoil's under the lifetimes of rayon's.
//!
//! Both run tasks that borrow, and wait for them. trefoil's scope has the lifetime of its own
//! borrow in its type, as std's has; rayon's has only `'scope`, during which what the tasks borrow
//! lives, and which is longer. So that one is hidden here.
//!
//! - **C1** An [`Inner`] is made inside of the body of a scope, and copied into tasks of that scope
//!   only. All of these end before the scope does, and what they and the body see of it is a
//!   reference of a lifetime that they do not choose. So its pointers are valid whenever it is
//!   used.
//!
//! Tests: rayon's own, and the `compile_fail` examples below.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use trefoil::thread::Scope as TheirScope;

use crate::here;
use crate::scope::Lines;
use crate::seat::{Away, Seat};

/// The scope, and what its tasks share beside it.
struct Inner<'scope, T> {
    scope: NonNull<TheirScope<'scope, 'scope>>,
    shared: NonNull<T>,
    // Invariant, as the lifetime of what tasks may borrow must be.
    lifetime: PhantomData<&'scope mut &'scope ()>,
}

/// Leaves a seat when it is dropped, until what it puts there is.
struct Leaves<'a, 'b>(Option<&'a Seat>, &'b Cell<Option<Away<'a>>>);

impl Drop for Leaves<'_, '_> {
    fn drop(&mut self) {
        self.1.set(self.0.map(Seat::away));
    }
}

impl<T> Clone for Inner<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Inner<'_, T> {}

// SAFETY: C1: it is a reference to both.
unsafe impl<T: Sync> Send for Inner<'_, T> {}
// SAFETY: C1: as above.
unsafe impl<T: Sync> Sync for Inner<'_, T> {}

impl<'scope, T: Sync + 'scope> Inner<'scope, T> {
    /// Calls `body` with a scope in `pool`, or the current one, and returns when all of its tasks
    /// have ended.
    fn open<R>(pool: Option<&trefoil::ThreadPool>, shared: &T, body: impl FnOnce(Self) -> R) -> R {
        let body = |scope: &TheirScope<'_, '_>| {
            body(Self {
                scope: NonNull::from(scope).cast(),
                shared: NonNull::from(shared),
                lifetime: PhantomData,
            })
        };
        let Some(pool) = pool else {
            return trefoil::scope(body);
        };
        // The program's thread in a pool's seat leaves it when the body has ended.
        let seated = here::seated();
        let away = Cell::new(None);
        pool.scope(|scope| {
            let _leaves = Leaves(here::seat(seated.as_ref()), &away);
            body(scope)
        })
    }

    /// Spawns a task of the scope, which gets a copy of this.
    fn spawn(self, task: impl FnOnce(Self) + Send + 'scope) {
        // SAFETY: C1: alive; what is spawned lives for `'scope`, and is kept no longer than the
        // scope.
        let scope: &'scope TheirScope<'scope, 'scope> = unsafe { self.scope.as_ref() };
        scope.spawn_detached(move || task(self));
    }
}

/// Where tasks are spawned that may borrow what lives for `'scope`; see [`scope`](crate::scope()).
///
/// Neither it nor what the scope's body owns can be borrowed by what lives longer:
///
/// ```compile_fail,E0521
/// let mut kept = None;
/// rayon_core::scope(|scope| kept = Some(scope));
/// drop(kept);
/// ```
///
/// ```compile_fail,E0373
/// rayon_core::scope(|scope| {
///     let inner = String::from("gone when the body ends");
///     scope.spawn(|_| drop(inner.len()));
/// });
/// ```
pub struct Scope<'scope>(Inner<'scope, ()>);

impl<'scope> Scope<'scope> {
    pub(crate) fn open<R>(pool: Option<&trefoil::ThreadPool>, body: impl FnOnce(&Self) -> R) -> R {
        Inner::open(pool, &(), |inner| body(&Self(inner)))
    }

    /// Spawns a task; the newest that a thread has spawned runs first there.
    pub fn spawn<BODY>(&self, body: BODY)
    where
        BODY: FnOnce(&Self) + Send + 'scope,
    {
        self.0.spawn(|inner| body(&Self(inner)));
    }
}

/// As [`Scope`], with tasks that run in the order in which a thread has spawned them; see
/// [`scope_fifo`](crate::scope_fifo()).
pub struct ScopeFifo<'scope>(Inner<'scope, Lines<'scope>>);

impl<'scope> ScopeFifo<'scope> {
    pub(crate) fn open<R>(
        pool: Option<&trefoil::ThreadPool>,
        lines: &Lines<'scope>,
        body: impl FnOnce(&Self) -> R,
    ) -> R {
        Inner::open(pool, lines, |inner| body(&Self(inner)))
    }

    /// Spawns a task.
    pub(crate) fn lend(&self, task: impl FnOnce(&Self) + Send + 'scope) {
        self.0.spawn(|inner| task(&Self(inner)));
    }

    pub(crate) fn lines(&self) -> &Lines<'scope> {
        // SAFETY: C1.
        unsafe { self.0.shared.as_ref() }
    }
}
