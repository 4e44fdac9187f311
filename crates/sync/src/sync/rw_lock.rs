//! A lock for many readers or one writer: `async-lock`'s, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::fmt;

use super::guard::guard;
use crate::parking::block_on::wait_for;

/// A lock for threads and tasks, which many may hold to read, or one to write. It may be held
/// across an `.await`.
///
/// Writers go first: while one waits, new readers wait behind it. So a task that reads must not ask
/// again: it would wait for a writer that waits for it. A panic does not poison it.
///
/// ```
/// use trefoil::sync::RwLock;
///
/// let lock = RwLock::new(1);
/// assert_eq!(*lock.read_blocking() + *lock.read_blocking(), 2);
/// trefoil::run(async { *lock.write().await *= 2 });
/// assert_eq!(lock.into_inner(), 2);
/// ```
#[derive(Default)]
pub struct RwLock<T: ?Sized>(async_lock::RwLock<T>);

/// Shared access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized>(async_lock::RwLockReadGuard<'a, T>);

/// Exclusive access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized>(async_lock::RwLockWriteGuard<'a, T>);

guard!(RwLockReadGuard<'_>);
guard!(mut RwLockWriteGuard<'_>);

impl<T> RwLock<T> {
    /// Makes a lock that is free.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(async_lock::RwLock::new(value))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read, waiting while a writer has it, or waits for it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard(self.0.read().await)
    }

    /// Like [`read`](Self::read), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `read().await`.
    #[inline]
    #[track_caller]
    pub fn read_blocking(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard(match self.0.try_read() {
            Some(guard) => guard,
            None => wait_for(self.0.read(), "RwLock::read"),
        })
    }

    /// Takes the lock to read, if no writer has it or waits for it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        self.0.try_read().map(RwLockReadGuard)
    }

    /// Takes the lock to write, waiting while others have it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(self.0.write().await)
    }

    /// Like [`write`](Self::write), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `write().await`.
    #[inline]
    #[track_caller]
    pub fn write_blocking(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(match self.0.try_write() {
            Some(guard) => guard,
            None => wait_for(self.0.write(), "RwLock::write"),
        })
    }

    /// Takes the lock to write if it is free.
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        self.0.try_write().map(RwLockWriteGuard)
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Becomes a plain reader. Nobody else writes in between.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard(async_lock::RwLockWriteGuard::downgrade(guard.0))
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
