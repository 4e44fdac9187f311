//! A lock that may be held across an `.await`: `async-lock`'s, with this crate's waits.
//!
//! Here, as in the other files that wrap a type of `async-lock` or `async-channel`, the async
//! methods are theirs. The blocking ones try first, and then wait for the async form in
//! [`wait_for`], as every wait of this crate does: a pool's worker is replaced meanwhile, and the
//! thread of an event loop is refused.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::fmt;
use std::panic::Location;

use super::guard::guard;
use crate::parking::block_on::wait_for;
use crate::parking::noted::{self, Access, At, Held, Lock, LockKind, Site, Waiting, Whose};

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
#[repr(transparent)] // for `MutexGuardArc`
pub struct Mutex<T: ?Sized>(pub(super) async_lock::Mutex<Born<T>>);

/// The value and where its lock was made. (Only the lock's holder sees that. Outside the lock
/// everybody would, but then the lock would not be transparent.)
#[derive(Debug)]
pub(super) struct Born<T: ?Sized> {
    pub(super) made_at: Site,
    pub(super) value: T,
}

/// Access to the value of a [`Mutex`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    _held: Held<false>, // is dropped first
    pub(super) inside: async_lock::MutexGuard<'a, Born<T>>,
}

guard!(mut MutexGuard<'_>, inside.value);

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self(async_lock::Mutex::new(Born {
            made_at: Location::caller(),
            value,
        }))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner().value
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting while another has it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.0).await
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
        let guard = self.0.try_lock()?;
        Some(MutexGuard::new(guard, Whose::Tasks))
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.0.get_mut().value
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    #[inline]
    fn new(inside: async_lock::MutexGuard<'a, Born<T>>, whose: Whose) -> Self {
        let taken = || Lock {
            made_at: Some(inside.made_at),
            ..at(async_lock::MutexGuard::source(&inside)).0
        };
        Self {
            _held: Held::new(taken, whose),
            inside,
        }
    }
}

/// What waits for it waits at this. Where it was made is known to its holder.
pub(super) fn at<T: ?Sized>(lock: &async_lock::Mutex<Born<T>>) -> At {
    (noted::lock(LockKind::Mutex, None, lock), Access::Alone)
}

/// For [`Condvar`](super::Condvar), too, which has only the lock inside.
pub(super) async fn lock<T: ?Sized>(lock: &async_lock::Mutex<Born<T>>) -> MutexGuard<'_, T> {
    let guard = Waiting::new(lock.lock(), at(lock)).await;
    MutexGuard::new(guard, Whose::Tasks)
}

/// Like [`lock`], blocking this thread.
#[inline]
#[track_caller]
pub(super) fn lock_blocking<T: ?Sized>(inside: &async_lock::Mutex<Born<T>>) -> MutexGuard<'_, T> {
    match inside.try_lock() {
        Some(guard) => MutexGuard::new(guard, Whose::Threads),
        None => wait_for(lock(inside), "Mutex::lock"),
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        match self.0.try_lock() {
            Some(guard) => shown.field("data", &&guard.value),
            None => shown.field("data", &format_args!("<locked>")),
        };
        shown.finish()
    }
}
