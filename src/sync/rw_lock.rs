//! A lock for many readers or one writer.
//!
//! Who enters next, a reader or a writer: `sync/line.rs`. How the blocking methods wait: `mutex`.
//!
//! Tests: `tests/sync/locks.rs::{readers_behind_a_writer_sleep,
//! a_writer_that_gives_up_lets_the_readers_in}`,
//! `tests/sync/refused.rs::workers_that_wait_to_read_or_write_are_replaced`.

use std::fmt;

use super::guard::{debug_lock, guard};
use super::raw_locked::{Alone, Locked, Many, Together};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{LockKind, Whose};
use crate::parking::short_wait::look_for_a_while;

/// A lock for threads and tasks, which many may hold to read, or one to write. It may be held
/// across an `.await`.
///
/// Those who wait get it in the order in which they came, and readers who are next to each other in
/// that order read together: see [Order](crate::sync#order). While a writer waits, new readers wait
/// behind it. Therefore a task that reads must not ask again: it would wait for a writer that waits
/// for it. A panic does not poison it.
///
/// ```
/// use trefoil::sync::RwLock;
///
/// let lock = RwLock::new(1);
/// assert_eq!(*lock.read_blocking() + *lock.read_blocking(), 2);
/// trefoil::run(async { *lock.write().await *= 2 });
/// assert_eq!(lock.into_inner(), 2);
/// ```
pub struct RwLock<T: ?Sized>(Locked<Many, T>);

/// Shared access to the value of a [`RwLock`], which is released when this is dropped.
///
/// ```
/// let lock = trefoil::sync::RwLock::new(5);
/// let (one, two) = (lock.read_blocking(), lock.read_blocking()); // at the same time
/// assert!(*one + *two == 10 && lock.try_write().is_none());
/// ```
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized>(Together<'a, T>);

/// Exclusive access to the value of a [`RwLock`], which is released when this is dropped.
///
/// It may be sent to another thread only if the value may be shared among threads, because it may
/// be [downgraded](Self::downgrade) there, while others read here.
///
/// ```compile_fail,E0277
/// use std::cell::Cell;
/// use trefoil::sync::RwLock;
///
/// let lock = RwLock::new(Cell::new(0));
/// let guard = lock.try_write().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// ```
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized>(Alone<&'a Locked<Many, T>>);

guard!(RwLockReadGuard<'_>);
guard!(mut RwLockWriteGuard<'_>);

impl<T> RwLock<T> {
    /// Makes a lock that is free.
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self(Locked::new(LockKind::RwLock, value))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read, waiting while a writer has it, or has waited for it longer.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard(Together::new(&self.0, Whose::Tasks).await)
    }

    /// Locks for reading, blocking this thread: see [`read`](Self::read).
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `read().await`.
    #[inline]
    #[track_caller]
    pub fn read_blocking(&self) -> RwLockReadGuard<'_, T> {
        match look_for_a_while(|| Together::try_new(&self.0, Whose::Threads)) {
            Some(shared) => RwLockReadGuard(shared),
            None => wait_for(self.read(), "RwLock::read"),
        }
    }

    /// Takes the lock to read, if no writer has it and nobody waits for it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        Together::try_new(&self.0, Whose::Tasks).map(RwLockReadGuard)
    }

    /// Takes the lock to write, waiting while others have it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(Alone::new(&self.0, Whose::Tasks).await)
    }

    /// Locks for writing, blocking this thread: see [`write`](Self::write).
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `write().await`.
    #[inline]
    #[track_caller]
    pub fn write_blocking(&self) -> RwLockWriteGuard<'_, T> {
        match look_for_a_while(|| Alone::try_new(&self.0, Whose::Threads)) {
            Some(alone) => RwLockWriteGuard(alone),
            None => wait_for(self.write(), "RwLock::write"),
        }
    }

    /// Takes the lock to write if it is free.
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        Alone::try_new(&self.0, Whose::Tasks).map(RwLockWriteGuard)
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Becomes a plain reader. Nobody else writes in between.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard(guard.0.share())
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_lock("RwLock", self.try_read().as_deref(), f)
    }
}
