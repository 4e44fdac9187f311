//! At most *n* at a time: `async-lock`'s semaphore, with this crate's waits.
//!
//! Tests: `tests/sync/sync.rs`, `tests/sync/refused.rs`.

use std::mem;
use std::sync::Arc;

use super::block_on::wait_for;

/// A number of permits, of which threads and tasks take one each. A permit is given back when its
/// guard is dropped.
///
/// ```
/// use trefoil::sync::Semaphore;
///
/// let places = Semaphore::new(1);
/// let place = places.acquire_blocking();
/// assert!(places.try_acquire().is_none());
/// drop(place);
/// trefoil::run(async { drop(places.acquire().await) });
/// ```
pub struct Semaphore(async_lock::Semaphore);

/// A permit of a [`Semaphore`], which is given back when this is dropped.
#[must_use = "the permit is given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphoreGuard<'a>(async_lock::SemaphoreGuard<'a>);

/// Like [`SemaphoreGuard`], from [`Semaphore::acquire_arc`]: it keeps the semaphore in memory, and
/// is `'static`.
#[must_use = "the permit is given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphoreGuardArc {
    semaphore: Arc<Semaphore>,
    /// What the drop gives back: 1, or 0 for a permit that was forgotten.
    permits: usize,
}

impl Semaphore {
    /// Makes a semaphore with so many permits.
    #[must_use]
    pub const fn new(permits: usize) -> Self {
        Self(async_lock::Semaphore::new(permits))
    }

    /// Takes a permit, waiting until there is one.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn acquire(&self) -> SemaphoreGuard<'_> {
        SemaphoreGuard(self.0.acquire().await)
    }

    /// Like [`acquire`](Self::acquire), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if there is no permit: [there](crate::sync#blocking) use
    /// `acquire().await`.
    #[track_caller]
    pub fn acquire_blocking(&self) -> SemaphoreGuard<'_> {
        match self.try_acquire() {
            Some(guard) => guard,
            None => wait_for(self.acquire(), "Semaphore::acquire"),
        }
    }

    /// Takes a permit if there is one.
    pub fn try_acquire(&self) -> Option<SemaphoreGuard<'_>> {
        self.0.try_acquire().map(SemaphoreGuard)
    }

    /// Takes a permit, as [`acquire`](Self::acquire) does; neither the future nor the guard
    /// borrows.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use trefoil::sync::Semaphore;
    ///
    /// trefoil::run(async {
    ///     let places = Arc::new(Semaphore::new(2));
    ///     let mut tasks = trefoil::TaskGroup::new();
    ///     for n in 0..10 {
    ///         let place = places.acquire_arc().await; // here, so that no more than two are started
    ///         tasks.add(trefoil::spawn(async move {
    ///             let _place = place;
    ///             n
    ///         }));
    ///     }
    ///     assert_eq!(tasks.try_join_all().await.unwrap().len(), 10);
    /// });
    /// ```
    pub fn acquire_arc(self: &Arc<Self>) -> impl Future<Output = SemaphoreGuardArc> + use<> {
        let semaphore = Arc::clone(self);
        async move {
            semaphore.acquire().await.forget();
            SemaphoreGuardArc {
                semaphore,
                permits: 1,
            }
        }
    }

    /// Like [`acquire_arc`](Self::acquire_arc), blocking this thread.
    ///
    /// # Panics
    /// On an event loop's thread, if there is no permit: [there](crate::sync#blocking) use
    /// `acquire_arc().await`.
    #[track_caller]
    pub fn acquire_arc_blocking(self: &Arc<Self>) -> SemaphoreGuardArc {
        match self.try_acquire_arc() {
            Some(guard) => guard,
            None => wait_for(self.acquire_arc(), "Semaphore::acquire_arc"),
        }
    }

    /// Takes a permit if there is one; the guard does not borrow.
    pub fn try_acquire_arc(self: &Arc<Self>) -> Option<SemaphoreGuardArc> {
        self.try_acquire()?.forget();
        Some(SemaphoreGuardArc {
            semaphore: Arc::clone(self),
            permits: 1,
        })
    }

    /// Adds so many permits.
    pub fn add_permits(&self, permits: usize) {
        self.0.add_permits(permits);
    }

    /// The number of permits that nobody has at this moment.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.0.available_permits()
    }
}

impl SemaphoreGuard<'_> {
    /// Keeps the permit for ever: the semaphore has one fewer, until [`Semaphore::add_permits`].
    pub fn forget(self) {
        self.0.forget();
    }
}

impl SemaphoreGuardArc {
    /// Keeps the permit for ever: the semaphore has one fewer, until [`Semaphore::add_permits`].
    pub fn forget(mut self) {
        self.permits = 0;
    }
}

impl Drop for SemaphoreGuardArc {
    fn drop(&mut self) {
        let permits = mem::take(&mut self.permits);
        if permits > 0 {
            self.semaphore.add_permits(permits);
        }
    }
}

debug!(impl Semaphore, self, available = self.available_permits());
