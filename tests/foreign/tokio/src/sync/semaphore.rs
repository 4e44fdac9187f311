//! `Semaphore`: one permit at a time, and never closed.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use trefoil::sync;
pub use trefoil::sync::{
    SemaphoreGuard as SemaphorePermit, SemaphoreGuardArc as OwnedSemaphorePermit,
};

#[derive(Debug)]
pub struct AcquireError(());

#[derive(Debug, Eq, PartialEq)]
pub enum TryAcquireError {
    Closed,
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no permits available")
    }
}

impl std::error::Error for TryAcquireError {}

/// Behind an `Arc` of its own, from which owned permits are made.
#[derive(Debug)]
pub struct Semaphore(Arc<sync::Semaphore>);

impl Semaphore {
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(sync::Semaphore::new(permits)))
    }

    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        Ok(self.0.acquire().await)
    }

    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.0.try_acquire().ok_or(TryAcquireError::NoPermits)
    }

    pub fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        Ok(self.0.acquire_blocking())
    }

    pub fn blocking_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        Ok(sync::Semaphore::acquire_arc_blocking(&self.0))
    }

    pub async fn acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        Ok(sync::Semaphore::acquire_arc(&self.0).await)
    }

    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        sync::Semaphore::try_acquire_arc(&self.0).ok_or(TryAcquireError::NoPermits)
    }
}

impl Deref for Semaphore {
    type Target = sync::Semaphore;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
