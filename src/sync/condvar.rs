//! A condition that is waited for under a [`Mutex`]: Python's `threading.Condition`.
//!
//! A waiter enters the list of listeners while it has the lock, and only then lets go
//! of it: so whoever changes the condition under the lock and notifies finds it.
//! Waking may be spurious in neither form, but the condition may have changed again
//! by the time the lock is had: use the `_while` forms.

use std::fmt;

use async_lock::{Mutex, MutexGuard};
use event_listener::{Event as Listeners, Listener};

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
    listeners: Listeners,
}

impl Condvar {
    /// A condition that nobody waits for.
    #[must_use]
    pub fn new() -> Self {
        Self {
            listeners: Listeners::new(),
        }
    }

    /// Lets go of the lock, waits for a notification, and takes the lock again.
    ///
    /// Cancel safe: dropping it half-way has let go of the lock, and a notification that it
    /// had got goes to the next that waits.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let listener = self.listeners.listen();
        let mutex: &Mutex<T> = MutexGuard::source(&guard);
        drop(guard);
        listener.await;
        let notified = Notified(self);
        let guard = mutex.lock().await;
        std::mem::forget(notified); // used
        guard
    }

    /// As [`wait`](Condvar::wait), blocking this thread.
    #[must_use]
    pub fn wait_blocking<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let listener = self.listeners.listen();
        let mutex: &Mutex<T> = MutexGuard::source(&guard);
        drop(guard);
        listener.wait();
        mutex.lock_blocking()
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
        use event_listener::IntoNotification;
        self.listeners.notify(1.additional());
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.listeners.notify(usize::MAX);
    }
}

/// A notification that has been had and not used yet.
struct Notified<'a>(&'a Condvar);

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}
