//! A lock that may be held across an `.await`.
//!
//! Here, as in the other files of this module, the blocking methods try first, and then wait for
//! the async form in [`wait_for`], as every wait of this crate does: a pool's worker is replaced
//! meanwhile, and the thread of an event loop is refused.
//!
//! Who gets the lock next: `sync/line.rs`.
//!
//! Tests: `tests/sync/sync.rs::two_tasks_of_one_loop_exclude_each_other`,
//! `tests/sync/locks.rs::a_lock_is_served_in_the_order_of_asking`,
//! `tests/sync/refused.rs::workers_that_wait_for_a_lock_of_a_suspended_future_are_replaced`.

use std::fmt;
use std::sync::Arc;

use super::guard::{debug_lock, guard};
use super::raw_locked::{Alone, Lock, Locked, One};
use crate::parking::block_on::wait_for;
use crate::parking::lock_events::{LockKind, Whose};
use crate::parking::short_wait::look_for_a_while;

/// A lock for threads and tasks, which may be held across an `.await`.
///
/// Those who wait get it in the order in which they came: see [Order](crate::sync#order). A panic
/// does not poison it.
///
/// ```
/// use trefoil::sync::Mutex;
///
/// static TOTAL: Mutex<u32> = Mutex::new(0);
///
/// *TOTAL.lock_blocking() += 1;
/// trefoil::run(async { *TOTAL.lock().await += 1 });
/// assert_eq!(*TOTAL.try_lock().unwrap(), 2);
/// ```
pub struct Mutex<T: ?Sized>(Locked<One, T>);

impl<T: ?Sized> Lock for Mutex<T> {
    type By = One;
    type Value = T;

    #[inline]
    fn locked(&self) -> &Locked<One, T> {
        &self.0
    }
}

/// Access to the value of a [`Mutex`], which is released when this is dropped.
///
/// ```
/// use trefoil::sync::Mutex;
///
/// let lock = Mutex::new(vec![1]);
/// let mut numbers = lock.lock_blocking();
/// numbers.push(2);
/// assert!(lock.try_lock().is_none());
/// drop(numbers);
/// assert_eq!(*lock.lock_blocking(), [1, 2]);
/// ```
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized>(pub(super) Alone<&'a Mutex<T>>);

/// A guard like [`MutexGuard`], from [`Mutex::lock_arc`]: it keeps the lock in memory, and is
/// `'static` if the value is.
///
/// ```
/// use std::sync::Arc;
/// use trefoil::sync::Mutex;
///
/// let lock = Arc::new(Mutex::new(1));
/// let mut guard = lock.lock_arc_blocking();
/// let task = trefoil::spawn_blocking(move || *guard += 1); // it moves into the task
/// task.join()?;
/// assert_eq!(*lock.lock_blocking(), 2);
/// # Ok::<_, trefoil::TaskError>(())
/// ```
#[must_use = "the lock is released when this is dropped"]
#[clippy::has_significant_drop]
pub struct MutexGuardArc<T: ?Sized>(Alone<Arc<Mutex<T>>>);

guard!(mut MutexGuard<'_>);
guard!(mut MutexGuardArc<>);

impl<T> Mutex<T> {
    /// Makes a lock that is free.
    #[must_use]
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self(Locked::new(LockKind::Mutex, value))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting while another has it.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(Alone::new(self, Whose::Tasks).await)
    }

    /// Locks, blocking this thread: see [`lock`](Self::lock).
    ///
    /// # Panics
    /// On an event loop's thread, if another has the lock: [there](crate::sync#blocking) use
    /// `lock().await`.
    #[inline]
    #[track_caller]
    pub fn lock_blocking(&self) -> MutexGuard<'_, T> {
        match look_for_a_while(|| Alone::try_new(self, Whose::Threads)) {
            Some(alone) => MutexGuard(alone),
            None => wait_for(self.lock(), "Mutex::lock"),
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Alone::try_new(self, Whose::Tasks).map(MutexGuard)
    }

    /// The value; `&mut self` proves that it is not locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Takes the lock, as [`lock`](Self::lock) does; neither the future nor the guard borrows.
    ///
    /// Cancel safe: dropping it gives up its place among the waiters.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use trefoil::sync::Mutex;
    ///
    /// trefoil::run(async {
    ///     let names = Arc::new(Mutex::new(vec!["a"]));
    ///     let mut guard = names.lock_arc().await;
    ///     trefoil::spawn(async move { guard.push("b") }).await?; // released in another task
    ///     assert_eq!(*names.lock().await, ["a", "b"]);
    ///     Ok::<_, trefoil::TaskError>(())
    /// })?;
    /// # Ok::<_, trefoil::TaskError>(())
    /// ```
    pub fn lock_arc(self: &Arc<Self>) -> impl Future<Output = MutexGuardArc<T>> + use<T> {
        let lock = Arc::clone(self);
        async move { MutexGuardArc(Alone::new(lock, Whose::Nobodys).await) }
    }

    /// Locks, with a guard that owns the lock, blocking this thread: see
    /// [`lock_arc`](Self::lock_arc).
    ///
    /// # Panics
    /// On an event loop's thread, if another has the lock: [there](crate::sync#blocking) use
    /// `lock_arc().await`.
    #[track_caller]
    pub fn lock_arc_blocking(self: &Arc<Self>) -> MutexGuardArc<T> {
        match self.try_lock_arc() {
            Some(guard) => guard,
            None => wait_for(self.lock_arc(), "Mutex::lock_arc"),
        }
    }

    /// Takes the lock if it is free; the guard does not borrow.
    pub fn try_lock_arc(self: &Arc<Self>) -> Option<MutexGuardArc<T>> {
        Alone::try_new(Arc::clone(self), Whose::Nobodys).map(MutexGuardArc)
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_lock("Mutex", self.try_lock().as_deref(), f)
    }
}
