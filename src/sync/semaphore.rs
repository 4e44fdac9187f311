//! At most *n* at a time.
//!
//! A count of permits and a list of waiters, which are notified in the order in which they came
//! (`waiters`). A waiter first listens and then tries; a release first
//! adds to the count and then notifies one waiter. So while somebody waits, there are at least as
//! many notified waiters that have not tried yet as there are free permits: each of these waiters
//! takes one, or finds that a quicker caller has, and waits again. A notified waiter that is
//! dropped passes the notification on.
//!
//! Rejected: `async-lock`'s semaphore (3.5). There a release notifies nobody as long as an earlier
//! notification has not been consumed, so a waiter may sleep while a permit is free.
//!
//! Tests: `tests/trefoil-checks/tests/permits.rs`, in every interleaving, with a broken twin that
//! tries before it listens; `tests/sync/sync.rs::{a_semaphore_limits_and_a_barrier_gathers,
//! a_request_may_get_a_permit_that_is_just_released}`.

use std::mem;

use super::wait_list::WaitList;
use crate::loom::Arc;
use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{Access, LockKind};

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
pub struct Semaphore {
    permits: AtomicUsize,
    list: WaitList,
}

/// A permit of a [`Semaphore`], which is given back when this is dropped.
///
/// ```
/// let permits = trefoil::sync::Semaphore::new(1);
/// let permit = permits.acquire_blocking();
/// assert!(permits.try_acquire().is_none());
/// drop(permit);
/// assert_eq!(permits.available_permits(), 1);
/// ```
#[must_use = "the permit is given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphoreGuard<'a>(&'a Semaphore);

/// A guard like [`SemaphoreGuard`], from [`Semaphore::acquire_arc`]: it keeps the semaphore in
/// memory, and is `'static`.
///
/// ```
/// use std::sync::Arc;
/// use trefoil::sync::Semaphore;
///
/// let permits = Arc::new(Semaphore::new(1));
/// let permit = permits.acquire_arc_blocking();
/// let task = trefoil::spawn_blocking(move || drop(permit)); // it moves into the task
/// task.join()?;
/// assert_eq!(permits.available_permits(), 1);
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[must_use = "the permit is given back when this is dropped"]
#[clippy::has_significant_drop]
#[derive(Debug)]
pub struct SemaphoreGuardArc(Option<Arc<Semaphore>>); // `None`: it was forgotten

impl Semaphore {
    /// Makes a semaphore with so many permits.
    #[must_use]
    #[track_caller]
    #[cfg(not(loom))]
    pub const fn new(permits: usize) -> Self {
        Self {
            permits: AtomicUsize::new(permits),
            list: WaitList::new(LockKind::Semaphore),
        }
    }

    #[cfg(loom)]
    #[doc(hidden)]
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            permits: AtomicUsize::new(permits),
            list: WaitList::new(LockKind::Semaphore),
        }
    }

    /// Takes a permit, waiting until there is one.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn acquire(&self) -> SemaphoreGuard<'_> {
        let look = || self.try_acquire();
        self.list.until(Access::Turn, look).await
    }

    /// Acquires a permit, blocking this thread: see [`acquire`](Self::acquire).
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
        self.permits
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |permits| {
                permits.checked_sub(1)
            })
            .is_ok()
            .then(|| SemaphoreGuard(self))
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
            SemaphoreGuardArc(Some(semaphore))
        }
    }

    /// Acquires a permit that owns the semaphore, blocking this thread: see
    /// [`acquire_arc`](Self::acquire_arc).
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
        Some(SemaphoreGuardArc(Some(Arc::clone(self))))
    }

    /// Adds so many permits. There are never more than `usize::MAX`: what is beyond that is lost.
    pub fn add_permits(&self, permits: usize) {
        self.give(permits);
        let _ = (0..permits).all(|_| self.list.waiters.wake_one());
    }

    fn give(&self, permits: usize) {
        let more = |before: usize| Some(before.saturating_add(permits));
        let _ = self
            .permits
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    /// The number of permits that nobody has at this moment.
    #[must_use]
    pub fn available_permits(&self) -> usize {
        self.permits.load(Ordering::SeqCst)
    }
}

impl SemaphoreGuard<'_> {
    /// Keeps the permit: the semaphore has one fewer, until [`Semaphore::add_permits`].
    pub fn forget(self) {
        mem::forget(self);
    }
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

impl SemaphoreGuardArc {
    /// Keeps the permit: the semaphore has one fewer, until [`Semaphore::add_permits`].
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for SemaphoreGuardArc {
    fn drop(&mut self) {
        if let Some(semaphore) = &self.0 {
            semaphore.add_permits(1);
        }
    }
}

debug!(impl Semaphore, self, available = self.available_permits());
