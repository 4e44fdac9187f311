//! A lock for many readers or one writer: `async-lock`'s, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::fmt;

use super::block_on::wait_for;
use super::guard::guard;

/// A lock for threads and tasks, which many may hold to read, or one to write. It may be held
/// across an `.await`.
///
/// Writers go first: while one waits, new readers wait behind it. So a task that reads must not ask
/// again: it would wait for a writer that waits for it. An *upgradable* reader, of which there is
/// one at a time, lets plain readers in, and may become the writer without releasing the lock. A
/// panic does not poison it.
///
/// ```
/// use trefoil::sync::{RwLock, RwLockUpgradableReadGuard as Upgradable};
///
/// let lock = RwLock::new(1);
/// assert_eq!(*lock.read_blocking() + *lock.read_blocking(), 2);
/// trefoil::run(async {
///     let read = lock.upgradable_read().await;
///     if *read == 1 {
///         *Upgradable::upgrade(read).await += 1;
///     }
///     *lock.write().await *= 2;
/// });
/// assert_eq!(lock.into_inner(), 4);
/// ```
#[derive(Default)]
pub struct RwLock<T: ?Sized>(async_lock::RwLock<T>);

/// Shared access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized>(async_lock::RwLockReadGuard<'a, T>);

/// Shared access to the value of a [`RwLock`], which may become exclusive.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockUpgradableReadGuard<'a, T: ?Sized>(async_lock::RwLockUpgradableReadGuard<'a, T>);

/// Exclusive access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized>(async_lock::RwLockWriteGuard<'a, T>);

guard!(RwLockReadGuard<'_>);
guard!(RwLockUpgradableReadGuard<'_>);
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

    /// Takes the lock to read and perhaps to write later, waiting while a writer or another
    /// upgradable reader has it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn upgradable_read(&self) -> RwLockUpgradableReadGuard<'_, T> {
        RwLockUpgradableReadGuard(self.0.upgradable_read().await)
    }

    /// Like [`upgradable_read`](Self::upgradable_read), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait, be it for the instant in which another
    /// thread's `try_write` fails: [there](crate::sync#blocking) use `upgradable_read().await`.
    #[track_caller]
    pub fn upgradable_read_blocking(&self) -> RwLockUpgradableReadGuard<'_, T> {
        RwLockUpgradableReadGuard(match self.0.try_upgradable_read() {
            Some(guard) => guard,
            None => wait_for(self.0.upgradable_read(), "RwLock::upgradable_read"),
        })
    }

    /// Takes the lock to read and perhaps to write later, if that needs no wait.
    pub fn try_upgradable_read(&self) -> Option<RwLockUpgradableReadGuard<'_, T>> {
        self.0.try_upgradable_read().map(RwLockUpgradableReadGuard)
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

impl<'a, T: ?Sized> RwLockUpgradableReadGuard<'a, T> {
    /// Becomes a plain reader.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard(async_lock::RwLockUpgradableReadGuard::downgrade(guard.0))
    }

    /// Becomes the writer, waiting until the plain readers have gone. Nobody else writes in
    /// between.
    ///
    /// Cancel safe in the sense that a dropped one has released the lock.
    pub async fn upgrade(guard: Self) -> RwLockWriteGuard<'a, T> {
        RwLockWriteGuard(async_lock::RwLockUpgradableReadGuard::upgrade(guard.0).await)
    }

    /// Like [`upgrade`](Self::upgrade), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if there are plain readers: [there](crate::sync#blocking) use
    /// `upgrade(guard).await`. The lock is released then.
    #[track_caller]
    pub fn upgrade_blocking(guard: Self) -> RwLockWriteGuard<'a, T> {
        match Self::try_upgrade(guard) {
            Ok(guard) => guard,
            Err(guard) => wait_for(Self::upgrade(guard), "RwLockUpgradableReadGuard::upgrade"),
        }
    }

    /// Becomes the writer if there are no plain readers.
    ///
    /// # Errors
    /// Itself, if there are.
    pub fn try_upgrade(guard: Self) -> Result<RwLockWriteGuard<'a, T>, Self> {
        match async_lock::RwLockUpgradableReadGuard::try_upgrade(guard.0) {
            Ok(guard) => Ok(RwLockWriteGuard(guard)),
            Err(guard) => Err(Self(guard)),
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Becomes a plain reader. Nobody else writes in between.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard(async_lock::RwLockWriteGuard::downgrade(guard.0))
    }

    /// Becomes an upgradable reader. Nobody else writes in between.
    pub fn downgrade_to_upgradable(guard: Self) -> RwLockUpgradableReadGuard<'a, T> {
        let guard = async_lock::RwLockWriteGuard::downgrade_to_upgradable(guard.0);
        RwLockUpgradableReadGuard(guard)
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
