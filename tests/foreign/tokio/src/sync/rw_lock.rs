//! `RwLock`.

use std::ops::Deref;

use trefoil::sync::{self, RwLockReadGuard, RwLockWriteGuard};

use super::TryLockError;

#[derive(Debug, Default)]
pub struct RwLock<T>(sync::RwLock<T>);

impl<T> RwLock<T> {
    pub const fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }

    pub const fn const_new(value: T) -> Self {
        Self::new(value)
    }

    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.0.try_read().ok_or(TryLockError(()))
    }

    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.0.try_write().ok_or(TryLockError(()))
    }

    pub fn blocking_read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read_blocking()
    }

    pub fn blocking_write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write_blocking()
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> Deref for RwLock<T> {
    type Target = sync::RwLock<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
