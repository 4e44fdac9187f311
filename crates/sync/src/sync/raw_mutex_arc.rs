//! A [`Mutex`]'s guard that owns a reference to it, and so may outlive the caller's.
//!
//! `async-lock` has it for an `Arc` of its own lock, and a `Mutex` is nothing but one of those:
//!
//! - **S5** `Mutex<T>` is `repr(transparent)` over `async_lock::Mutex<Born<T>>`, and has no
//!   destructor of its own. So an `Arc` of the one may be taken for an `Arc` of the other:
//!   `Arc::from_raw` asks for the same size and alignment, and that the value may be seen as one of
//!   the other type.
//!
//! Tests: `tests/interpreted.rs`, which Miri runs; `tests/sync/refused.rs`.
#![allow(unsafe_code)]

use std::sync::Arc;

use super::guard::guard;
use super::mutex::{Born, Mutex, at};
use crate::parking::block_on::wait_for;
use crate::parking::noted::{Held, Lock, Waiting, Whose};

/// Like [`MutexGuard`](super::MutexGuard), from [`Mutex::lock_arc`]: it keeps the lock in memory,
/// and is `'static` if the value is.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuardArc<T: ?Sized> {
    _held: Held<false>, // is dropped first
    inside: async_lock::MutexGuardArc<Born<T>>,
}

guard!(mut MutexGuardArc<>, inside.value);

impl<T: ?Sized> MutexGuardArc<T> {
    fn new(lock: Lock, inside: async_lock::MutexGuardArc<Born<T>>) -> Self {
        let made_at = Some(inside.made_at);
        let taken = || Lock { made_at, ..lock };
        Self {
            _held: Held::new(taken, Whose::Nobodys),
            inside,
        }
    }
}

/// The lock inside, with a reference of its own.
fn inside<T: ?Sized>(lock: &Arc<Mutex<T>>) -> Arc<async_lock::Mutex<Born<T>>> {
    let lock = Arc::into_raw(Arc::clone(lock));
    // SAFETY: S5: `lock` is from `Arc::into_raw`, whose reference the new `Arc` takes over, and the
    // two types have the same size, alignment, valid values and destructor.
    unsafe { Arc::from_raw(lock as *const async_lock::Mutex<Born<T>>) }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, as [`lock`](Self::lock) does; neither the future nor the guard borrows.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use trefoil::sync::Mutex;
    ///
    /// trefoil::run(async {
    ///     let names = Arc::new(Mutex::new(vec!["a"]));
    ///     let mut guard = names.lock_arc().await;
    ///     trefoil::spawn(async move { guard.push("b") }).await?; // released in another task
    ///     assert_eq!(*names.lock().await, ["a", "b"]);
    ///     Ok::<_, trefoil::TaskError>(())
    /// })?;
    /// # Ok::<_, trefoil::TaskError>(())
    /// ```
    pub fn lock_arc(self: &Arc<Self>) -> impl Future<Output = MutexGuardArc<T>> + use<T> {
        let lock = inside(self);
        async move {
            let at = at(&lock);
            MutexGuardArc::new(at.0, Waiting::new(lock.lock_arc(), at).await)
        }
    }

    /// Like [`lock_arc`](Self::lock_arc), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if another has the lock, or has waited for it for half a
    /// millisecond: [there](crate::sync#blocking) use `lock_arc().await`.
    #[track_caller]
    pub fn lock_arc_blocking(self: &Arc<Self>) -> MutexGuardArc<T> {
        match self.try_lock_arc() {
            Some(guard) => guard,
            None => wait_for(self.lock_arc(), "Mutex::lock_arc"),
        }
    }

    /// Takes the lock if it is free; the guard does not borrow.
    pub fn try_lock_arc(self: &Arc<Self>) -> Option<MutexGuardArc<T>> {
        let lock = at(&self.0).0;
        let guard = inside(self).try_lock_arc()?;
        Some(MutexGuardArc::new(lock, guard))
    }
}
