//! `Mutex`.

use std::fmt;
use std::sync::Arc;

pub use trefoil::sync::MutexGuardArc as OwnedMutexGuard;
use trefoil::sync::{self, MutexGuard};

#[derive(Debug)]
pub struct TryLockError(pub(super) ());

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("operation would block")
    }
}

impl std::error::Error for TryLockError {}

/// Behind an `Arc` of its own, from which owned guards are made.
#[derive(Default)]
pub struct Mutex<T>(Arc<sync::Mutex<T>>);

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(sync::Mutex::new(value)))
    }

    pub async fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().await
    }

    pub fn blocking_lock(&self) -> MutexGuard<'_, T> {
        self.0.lock_blocking()
    }

    pub fn blocking_lock_owned(self: Arc<Self>) -> OwnedMutexGuard<T> {
        sync::Mutex::lock_arc_blocking(&self.0)
    }

    pub async fn lock_owned(self: Arc<Self>) -> OwnedMutexGuard<T> {
        sync::Mutex::lock_arc(&self.0).await
    }

    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.0.try_lock().ok_or(TryLockError(()))
    }

    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
        sync::Mutex::try_lock_arc(&self.0).ok_or(TryLockError(()))
    }

    pub fn get_mut(&mut self) -> &mut T {
        Arc::get_mut(&mut self.0)
            .expect("no owned guard is left")
            .get_mut()
    }

    pub fn into_inner(self) -> T {
        Arc::into_inner(self.0)
            .expect("no owned guard is left")
            .into_inner()
    }
}
