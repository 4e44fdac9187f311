//! A condition that is waited for under a [`Mutex`]: Python's `threading.Condition`.
//!
//! The protocol is in `notices`; this is its public face, over the locks of this module.
//! Waking may be spurious in neither form, but the condition may have changed again
//! by the time the lock is had: use the `_while` forms.

use std::fmt;

use async_lock::{Mutex, MutexGuard};

use super::notices::Notices;

/// A condition variable for [`Mutex`], for threads and tasks.
///
/// ```
/// use std::sync::Arc;
/// use trefoil::sync::{Condvar, Mutex};
///
/// let shared = Arc::new((Mutex::new(0), Condvar::new()));
/// let other = shared.clone();
/// let thread = std::thread::spawn(move || {
///     let (count, changed) = &*other;
///     let count = changed.wait_while_blocking(count.lock_blocking(), |count| *count < 3);
///     *count
/// });
/// for _ in 0..3 {
///     *shared.0.lock_blocking() += 1;
///     shared.1.notify_all();
/// }
/// assert_eq!(thread.join().unwrap(), 3);
/// ```
#[derive(Default)]
pub struct Condvar {
    notices: Notices,
}

impl Condvar {
    /// A condition without waiters.
    #[must_use]
    pub fn new() -> Self {
        Self {
            notices: Notices::new(),
        }
    }

    /// Lets go of the lock, waits for a notification, and takes the lock again.
    ///
    /// Cancel safe: dropping it half-way has let go of the lock, and a notification that it
    /// had got goes to the next that waits.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex: &Mutex<T> = MutexGuard::source(&guard);
        self.notices.wait(guard, || mutex.lock()).await
    }

    /// As [`wait`](Condvar::wait), blocking this thread.
    #[must_use]
    pub fn wait_blocking<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex: &Mutex<T> = MutexGuard::source(&guard);
        self.notices.wait_blocking(guard, || mutex.lock_blocking())
    }

    /// Waits as long as `condition` holds.
    pub async fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// As [`wait_while`](Condvar::wait_while), blocking this thread.
    #[must_use]
    pub fn wait_while_blocking<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait_blocking(guard);
        }
        guard
    }

    /// Wakes one that waits, if one does: the one that has waited longest.
    pub fn notify_one(&self) {
        self.notices.notify_one();
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.notices.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
