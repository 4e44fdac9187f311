//! A lock for many readers or one writer: `async-lock`'s, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::fmt;
use std::panic::Location;

use super::guard::guard;
use crate::parking::block_on::wait_for;
use crate::parking::noted::{self, Access, At, Held, Lock, LockKind, Site, Waiting, Whose};

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
pub struct RwLock<T: ?Sized> {
    birth: Birth,
    inside: async_lock::RwLock<T>,
}

/// Where the lock was made; its own place stands for that of the lock.
struct Birth(Site);

impl Drop for Birth {
    fn drop(&mut self) {
        noted::dropped(|| self.lock());
    }
}

impl Birth {
    fn lock(&self) -> Lock {
        noted::lock(LockKind::RwLock, Some(self.0), self)
    }
}

/// Shared access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    _held: Held<true>, // is dropped first
    inside: async_lock::RwLockReadGuard<'a, T>,
}

/// Exclusive access to the value of a [`RwLock`], which is released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    held: Held<false>, // is dropped first
    birth: &'a Birth,
    inside: async_lock::RwLockWriteGuard<'a, T>,
}

guard!(RwLockReadGuard<'_>, inside);
guard!(mut RwLockWriteGuard<'_>, inside);

impl<T> RwLock<T> {
    /// Makes a lock that is free.
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self {
            birth: Birth(Location::caller()),
            inside: async_lock::RwLock::new(value),
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.inside.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read, waiting while a writer has it, or waits for it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        let at = self.at(Access::Shared);
        let guard = Waiting::new(self.inside.read(), at).await;
        RwLockReadGuard::new(&self.birth, guard, Whose::Tasks)
    }

    /// Like [`read`](Self::read), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `read().await`.
    #[inline]
    #[track_caller]
    pub fn read_blocking(&self) -> RwLockReadGuard<'_, T> {
        match self.inside.try_read() {
            Some(guard) => RwLockReadGuard::new(&self.birth, guard, Whose::Threads),
            None => wait_for(self.read(), "RwLock::read"),
        }
    }

    /// Takes the lock to read, if no writer has it or waits for it.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let guard = self.inside.try_read()?;
        Some(RwLockReadGuard::new(&self.birth, guard, Whose::Tasks))
    }

    /// Takes the lock to write, waiting while others have it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        let at = self.at(Access::Alone);
        let guard = Waiting::new(self.inside.write(), at).await;
        RwLockWriteGuard::new(&self.birth, guard, Whose::Tasks)
    }

    /// Like [`write`](Self::write), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait: [there](crate::sync#blocking) use
    /// `write().await`.
    #[inline]
    #[track_caller]
    pub fn write_blocking(&self) -> RwLockWriteGuard<'_, T> {
        match self.inside.try_write() {
            Some(guard) => RwLockWriteGuard::new(&self.birth, guard, Whose::Threads),
            None => wait_for(self.write(), "RwLock::write"),
        }
    }

    /// Takes the lock to write if it is free.
    #[inline]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let guard = self.inside.try_write()?;
        Some(RwLockWriteGuard::new(&self.birth, guard, Whose::Tasks))
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.inside.get_mut()
    }

    fn at(&self, access: Access) -> At {
        (self.birth.lock(), access)
    }
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    #[inline]
    fn new(birth: &'a Birth, inside: async_lock::RwLockReadGuard<'a, T>, whose: Whose) -> Self {
        Self {
            _held: Held::new(|| birth.lock(), whose),
            inside,
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    #[inline]
    fn new(birth: &'a Birth, inside: async_lock::RwLockWriteGuard<'a, T>, whose: Whose) -> Self {
        Self {
            held: Held::new(|| birth.lock(), whose),
            birth,
            inside,
        }
    }

    /// Becomes a plain reader. Nobody else writes in between.
    pub fn downgrade(guard: Self) -> RwLockReadGuard<'a, T> {
        let Self {
            held,
            birth,
            inside,
        } = guard;
        drop(held);
        let inside = async_lock::RwLockWriteGuard::downgrade(inside);
        RwLockReadGuard::new(birth, inside, Whose::Tasks)
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
        self.inside.fmt(f)
    }
}
