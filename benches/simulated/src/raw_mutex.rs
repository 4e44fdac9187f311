//! The mutex and the condition variable of the standard library for Linux, never poisoned.
//!
//! Invariants:
//! - **V6** Who has made the word other than 0 has the value, until it makes the word 0.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicU8;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::Duration;

use crate::atomic::{AtomicU32, Ordering};
use crate::costs::Ns;
use crate::hint::spin_loop;
use crate::lines::Access;
use crate::raw_threads::{Waited, futex_wait, futex_wake, is_mine, now, touch};

/// Sleeps while the word is that; threads outside of a machine look again instead.
pub(crate) fn wait(word: &AtomicU32, is: u32, until: Option<Ns>) -> Waited {
    if is_mine() {
        // SAFETY: it is the word of `word`, which is as large and aligned.
        let real = unsafe { std::sync::atomic::AtomicU32::from_ptr(word.as_ptr()) };
        return futex_wait(real, is, until);
    }
    std::thread::sleep(Duration::from_micros(20));
    Waited::Woken
}

pub(crate) fn wake(word: &AtomicU32, most: usize) {
    futex_wake(word.as_ptr().addr(), most);
}

/// 0: free; 1: locked; 2: locked, and somebody may sleep.
#[derive(Debug)]
struct Word(AtomicU32);

impl Word {
    #[inline]
    fn try_lock(&self) -> bool {
        let changed = (self.0).compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        changed.is_ok()
    }

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.lock_busy();
        }
    }

    fn spin(&self) -> u32 {
        for _ in 0..100 {
            match self.0.load(Ordering::Relaxed) {
                1 => spin_loop(),
                other => return other,
            }
        }
        self.0.load(Ordering::Relaxed)
    }

    fn lock_busy(&self) {
        let mut is = self.spin();
        if is == 0 && self.try_lock() {
            return;
        }
        loop {
            if is != 2 && self.0.swap(2, Ordering::Acquire) == 0 {
                return;
            }
            wait(&self.0, 2, None);
            is = self.spin();
        }
    }

    #[inline]
    fn unlock(&self) {
        if self.0.swap(0, Ordering::Release) == 2 {
            wake(&self.0, 1);
        }
    }
}

/// Stands for `std::sync::Mutex`.
pub struct Mutex<T: ?Sized> {
    word: Word,
    value: UnsafeCell<T>,
}

// SAFETY: V6: one thread has the value at a time.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: V6: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
impl<T: ?Sized> UnwindSafe for Mutex<T> {}
impl<T: ?Sized> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// A mutex that is free.
    pub const fn new(value: T) -> Self {
        Self {
            word: Word(AtomicU32::new(0)),
            value: UnsafeCell::new(value),
        }
    }

    /// The value.
    ///
    /// # Errors
    /// Never.
    pub fn into_inner(self) -> LockResult<T> {
        Ok(self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock, and takes it.
    ///
    /// # Errors
    /// Never.
    #[inline]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.word.lock();
        Ok(MutexGuard::of(self))
    }

    /// Takes the lock if it is free now.
    ///
    /// # Errors
    /// If it is not.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.word.try_lock() {
            true => Ok(MutexGuard::of(self)),
            false => Err(TryLockError::WouldBlock),
        }
    }

    /// Never.
    pub fn is_poisoned(&self) -> bool {
        false
    }

    /// The value; nobody else uses it.
    ///
    /// # Errors
    /// Never.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        Ok(self.value.get_mut())
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// Stands for `std::sync::MutexGuard`. The value's lines are charged for once, when they are first
/// read and first written.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    touched: AtomicU8,
    here: PhantomData<*const ()>,
}

// SAFETY: sharing it shares the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    fn of(mutex: &'a Mutex<T>) -> Self {
        Self {
            mutex,
            touched: AtomicU8::new(0),
            here: PhantomData,
        }
    }

    fn touch(&self, bit: u8, access: Access) {
        let touched = self.touched.load(Ordering::Relaxed);
        if touched & bit == 0 {
            self.touched.store(touched | bit, Ordering::Relaxed);
            // SAFETY: V6: the guard has the value.
            let size = size_of_val(unsafe { &*self.mutex.value.get() });
            touch(self.mutex.value.get(), size, access);
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        self.touch(1, Access::Read);
        // SAFETY: V6: the guard has the value.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.touch(3, Access::Write);
        // SAFETY: V6: the guard has the value, and the borrow is the only one of the guard.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.word.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Whether a wait ended because its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

/// Stands for `std::sync::Condvar`.
#[derive(Debug)]
pub struct Condvar(AtomicU32);

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl Condvar {
    /// One that nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        until: Option<Ns>,
    ) -> (MutexGuard<'a, T>, bool) {
        let (mutex, is) = (guard.mutex, self.0.load(Ordering::Relaxed));
        drop(guard);
        let waited = wait(&self.0, is, until);
        mutex.word.lock();
        (MutexGuard::of(mutex), waited == Waited::TimedOut)
    }

    /// Waits for a notification.
    ///
    /// # Errors
    /// Never.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        Ok(self.until(guard, None).0)
    }

    /// Waits for notifications until there is nothing to wait for.
    ///
    /// # Errors
    /// Never.
    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while waits(&mut *guard) {
            guard = self.until(guard, None).0;
        }
        Ok(guard)
    }

    /// Waits for a notification, at most so long.
    ///
    /// # Errors
    /// Never.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        time: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let until = now() + time.as_nanos() as Ns;
        let (guard, timed_out) = self.until(guard, Some(until));
        Ok((guard, WaitTimeoutResult(timed_out)))
    }

    /// Wakes one.
    pub fn notify_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        wake(&self.0, 1);
    }

    /// Wakes all.
    pub fn notify_all(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        wake(&self.0, usize::MAX);
    }
}
