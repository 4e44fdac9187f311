//! A lock for many readers or one writer, which sleeps on one word; never poisoned.
//!
//! Invariants:
//! - **V7** The word counts the readers; a writer has made it `WRITER` from 0.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};

use crate::atomic::{AtomicU32, Ordering};
use crate::raw_mutex::{wait, wake};

const WRITER: u32 = u32::MAX;

/// Stands for `std::sync::RwLock`.
pub struct RwLock<T: ?Sized> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: V7: it hands out the value as a `&T` to many or as a `&mut T` to one.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: V7: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
impl<T: ?Sized> UnwindSafe for RwLock<T> {}
impl<T: ?Sized> RefUnwindSafe for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self {
            word: AtomicU32::new(0),
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

impl<T: ?Sized> RwLock<T> {
    fn enter(&self, change: impl Fn(u32) -> Option<u32>) -> Result<(), u32> {
        let changed = (self.word).fetch_update(Ordering::Acquire, Ordering::Relaxed, change);
        changed.map(drop)
    }

    fn add_reader(&self) -> Result<(), u32> {
        self.enter(|is| (is != WRITER).then_some(is.wrapping_add(1)))
    }

    fn add_writer(&self) -> Result<(), u32> {
        self.enter(|is| (is == 0).then_some(WRITER))
    }

    /// Waits for writers, and reads.
    ///
    /// # Errors
    /// Never.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        while let Err(is) = self.add_reader() {
            wait(&self.word, is, None);
        }
        Ok(RwLockReadGuard(self))
    }

    /// Waits for all others, and writes.
    ///
    /// # Errors
    /// Never.
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        while let Err(is) = self.add_writer() {
            wait(&self.word, is, None);
        }
        Ok(RwLockWriteGuard(self))
    }

    /// Reads if nobody writes.
    ///
    /// # Errors
    /// If somebody does.
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match self.add_reader() {
            Ok(()) => Ok(RwLockReadGuard(self)),
            Err(_) => Err(TryLockError::WouldBlock),
        }
    }

    /// Writes if nobody reads or writes.
    ///
    /// # Errors
    /// If somebody does.
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.add_writer() {
            Ok(()) => Ok(RwLockWriteGuard(self)),
            Err(_) => Err(TryLockError::WouldBlock),
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

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").finish_non_exhaustive()
    }
}

/// Stands for `std::sync::RwLockReadGuard`.
pub struct RwLockReadGuard<'a, T: ?Sized>(&'a RwLock<T>);

/// Stands for `std::sync::RwLockWriteGuard`.
pub struct RwLockWriteGuard<'a, T: ?Sized>(&'a RwLock<T>);

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: V7: a reader has it.
        unsafe { &*self.0.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: V7: the writer has it.
        unsafe { &*self.0.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: V7: the writer has it, and the borrow is the only one of the guard.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        if self.0.word.fetch_sub(1, Ordering::Release) == 1 {
            wake(&self.0.word, usize::MAX);
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        self.0.word.store(0, Ordering::Release);
        wake(&self.0.word, usize::MAX);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
