//! A lock that may be held across an `.await`: `async-lock`'s, with this crate's waits.
//!
//! Here, as in the other files that wrap a type of `async-lock` or `async-channel`, the async
//! methods are theirs. The blocking ones try first, and then wait for the async form in
//! [`wait_for`], as every wait of this crate does: a pool's worker is replaced meanwhile, and the
//! thread of an event loop is refused.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::fmt;

use super::guard::guard;
use crate::parking::block_on::wait_for;

/// A lock for threads and tasks, which may be held across an `.await`.
///
/// A task that waits for it is overtaken for at most half a millisecond; until then a newcomer may
/// get the lock first. A panic does not poison it.
///
/// ```
/// use trefoil::sync::Mutex;
///
/// static TOTAL: Mutex<u32> = Mutex::new(0);
///
/// *TOTAL.lock_blocking() += 1;
/// trefoil::run(async { *TOTAL.lock().await += 1 });
/// assert_eq!(*TOTAL.try_lock().unwrap(), 2);
/// ```
#[derive(Default)]
#[repr(transparent)] // for `MutexGuardArc`
pub struct Mutex<T: ?Sized>(pub(super) async_lock::Mutex<T>);

/// Access to the value of a [`Mutex`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized>(pub(super) async_lock::MutexGuard<'a, T>);

guard!(mut MutexGuard<'_>);

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(async_lock::Mutex::new(value))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting while another has it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().await)
    }

    /// Like [`lock`](Self::lock), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if another has the lock, or has waited for it for half a
    /// millisecond: [there](crate::sync#blocking) use `lock().await`.
    #[inline]
    #[track_caller]
    pub fn lock_blocking(&self) -> MutexGuard<'_, T> {
        lock_blocking(&self.0)
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(MutexGuard)
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// For [`Condvar`](super::Condvar), too, which has only the lock inside.
#[inline]
#[track_caller]
pub(super) fn lock_blocking<T: ?Sized>(lock: &async_lock::Mutex<T>) -> MutexGuard<'_, T> {
    MutexGuard(match lock.try_lock() {
        Some(guard) => guard,
        None => wait_for(lock.lock(), "Mutex::lock"),
    })
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
