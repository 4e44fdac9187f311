//! The standard library's mutex and condition variable, without poisoning.
//!
//! The lock stands beside the value, so that what locks it is compiled once, and not for each type
//! of value.
//!
//! - **Y56** The value is used through a guard of its lock, by one thread at a time.
//!
//! Tests: below; all others that use threads.
#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Instant;

#[cfg(simulated)]
use simulated::sync as base;
#[cfg(not(simulated))]
use std::sync as base;

use base::{PoisonError, TryLockError};

/// The standard mutex, without poisoning.
#[derive(Default)]
pub struct Mutex<T> {
    lock: base::Mutex<()>,
    value: UnsafeCell<T>,
}

/// The use of a mutex's value, until it is dropped.
pub struct MutexGuard<'a, T> {
    value: &'a UnsafeCell<T>,
    locked: base::MutexGuard<'a, ()>,
}

// SAFETY: Y56: it gives a `&mut T` to one at a time, on any thread.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: Y56: where it is shared, it gives a `&T`.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}
// As the standard one's: a panic leaves a value that others may see.
impl<T> UnwindSafe for Mutex<T> {}
impl<T> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// A mutex that is free.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self {
            lock: base::Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock, and takes it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.guard(lock(&self.lock))
    }

    /// Takes the lock if it is free now.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.lock.try_lock() {
            Ok(locked) => Some(self.guard(locked)),
            Err(TryLockError::Poisoned(locked)) => Some(self.guard(locked.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    #[inline]
    fn guard<'a>(&'a self, locked: base::MutexGuard<'a, ()>) -> MutexGuard<'a, T> {
        MutexGuard {
            value: &self.value,
            locked,
        }
    }
}

fn lock(lock: &base::Mutex<()>) -> base::MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        #[cfg(simulated)]
        simulated::touch(self.value, size_of::<T>(), simulated::Access::Read);
        // SAFETY: Y56: `locked` is a guard of its lock.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        #[cfg(simulated)]
        simulated::touch(self.value, size_of::<T>(), simulated::Access::Write);
        // SAFETY: Y56: `locked` is a guard of its lock, and the borrow is the only one of this.
        unsafe { &mut *self.value.get() }
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The standard condition variable, in loom's shape: the guard goes in and comes back.
#[derive(Debug, Default)]
pub struct Condvar(base::Condvar);

impl Condvar {
    /// A condition variable that nobody waits for.
    pub const fn new() -> Self {
        Self(base::Condvar::new())
    }

    /// Waits for a notification, or for no reason.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let MutexGuard { value, locked } = guard;
        let locked = self.0.wait(locked).unwrap_or_else(PoisonError::into_inner);
        MutexGuard { value, locked }
    }

    /// The `bool` is true if the time is up.
    pub fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> (MutexGuard<'a, T>, bool) {
        let MutexGuard { value, locked } = guard;
        let (locked, is_late) = wait_until(&self.0, locked, deadline);
        (MutexGuard { value, locked }, is_late)
    }

    /// Wakes one waiter.
    #[inline]
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiters.
    #[inline]
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

fn wait_until<'a>(
    condvar: &base::Condvar,
    locked: base::MutexGuard<'a, ()>,
    deadline: Instant,
) -> (base::MutexGuard<'a, ()>, bool) {
    let left = deadline.saturating_duration_since(Instant::now());
    let (locked, waited) = condvar
        .wait_timeout(locked, left)
        .unwrap_or_else(PoisonError::into_inner);
    (locked, waited.timed_out())
}

#[cfg(all(test, not(simulated)))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn one_at_a_time_and_after_a_panic_too() {
        let mutex = Mutex::new(0);
        let count = || (0..10_000).for_each(|_| *mutex.lock() += 1);
        std::thread::scope(|scope| (0..4).for_each(|_| _ = scope.spawn(count)));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _locked = mutex.lock();
            panic!("with the lock");
        }));
        assert!(panicked.is_err() && mutex.try_lock().is_some_and(|value| *value == 40_000));
        let locked = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(locked);
        assert_eq!(mutex.into_inner(), 40_000);
    }
}
