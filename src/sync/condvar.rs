//! A condition variable for a [`Mutex`](super::Mutex): Python's `threading.Condition`.
//!
//! 1. A waiter enters the list while it holds the lock, and only then releases it. So a thread that
//!    changes the condition under the lock and then notifies finds the waiter: no notification is
//!    lost.
//! 2. A notified waiter takes the lock again. Until it has the lock, the notification is unused: a
//!    waiter that is dropped in between, or may not block for the lock, passes it on ([`Unused`]),
//!    unless it was for all. So does one that is dropped before it learns of it
//!    (`Drop for Listener`, `parking/waiters.rs`).
//!
//! A waiter is woken only by a notification. But that may have been passed on, and be older than
//! the wait; and the condition may have changed again before the waiter gets the lock. So use the
//! `_while` forms.
//!
//! The protocol ([`Condvar::wait_by`]) gets the lock from its callers, as a guard to drop and a way
//! to take it again. So the models can use loom's lock.
//!
//! Tests: `tests/trefoil-checks/tests/conditions.rs`, in every interleaving, with a broken twin
//! that releases the lock first; `tests/sync/sync.rs::a_condition_is_met_under_its_lock`,
//! `tests/trefoil-checks/tests/cancel_safety.rs::a_condition_passes_its_notification_on`.

use std::mem;

#[cfg(not(loom))]
use super::MutexGuard;
use super::wait_list::WaitList;
use crate::parking::lock_events::{Access, LockKind, waiting};
use crate::parking::waiters::Listener;

/// A condition variable for [`Mutex`](super::Mutex), for threads and tasks.
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
pub struct Condvar {
    list: WaitList,
}

impl Condvar {
    /// A condition without waiters.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let list = WaitList::new(LockKind::Condvar);
        Self { list }
    }

    /// Wakes the waiter that has waited longest, if there is one.
    pub fn notify_one(&self) {
        self.list.waiters.wake_one();
    }

    /// Wakes all waiters.
    pub fn notify_all(&self) {
        self.list.waiters.wake_all();
    }

    /// Releases the lock by dropping `guard`, waits, and takes it again.
    pub(super) async fn wait_by<G, L: Future>(
        &self,
        guard: G,
        lock: impl FnOnce() -> L,
    ) -> L::Output {
        let mut listener = self.list.waiters.listen();
        drop(guard);
        waiting(&mut listener, self.list.at(Access::Turn)).await;
        let unused = Unused(listener);
        let guard = lock().await;
        mem::forget(unused);
        guard
    }

    /// Like `wait_by`, blocking this thread.
    #[track_caller]
    pub(super) fn wait_by_blocking<G, R>(&self, guard: G, lock: impl FnOnce() -> R) -> R {
        let mut listener = self.list.waiters.listen();
        drop(guard);
        listener.wait(None, self.list.at(Access::Turn), "Condvar::wait");
        let unused = Unused(listener);
        let guard = lock();
        mem::forget(unused);
        guard
    }
}

impl Default for Condvar {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

debug!(impl Condvar, self, waiters = self.list.waiters);

/// A notification that was received but not used yet: who uses it forgets this.
struct Unused<'a>(Listener<'a>);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

#[cfg(not(loom))]
impl Condvar {
    /// Releases the lock, waits for a notification, and takes the lock again.
    ///
    /// Cancel safe: if it is dropped before its end, the lock has been released, and a notification
    /// that it had received goes to the next waiter, unless it was for all.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let lock = *guard.0.lock();
        self.wait_by(guard, || lock.lock()).await
    }

    /// Waits for a notice, blocking this thread: see [`wait`](Condvar::wait).
    ///
    /// # Panics
    /// On an event loop's thread: [there](crate::sync#blocking) use `wait(guard).await`. The lock
    /// is released then, and a notification that it had received goes to the next waiter.
    #[track_caller]
    pub fn wait_blocking<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let lock = *guard.0.lock();
        self.wait_by_blocking(guard, || lock.lock_blocking())
    }

    /// Waits while `condition` returns true.
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

    /// Waits while a condition holds, blocking this thread: see
    /// [`wait_while`](Condvar::wait_while).
    ///
    /// # Panics
    /// On an event loop's thread, if it has to wait: [there](crate::sync#blocking) use
    /// `wait_while(guard, ..).await`. The lock is released then.
    #[track_caller]
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
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::future::ready;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::Condvar;

    struct Calls<F: FnMut()>(F);

    impl<F: FnMut()> Drop for Calls<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    /// It is notified as soon as it has released the lock, and may not wait to take it again.
    #[test]
    fn a_notification_that_cannot_be_used_is_passed_on() {
        let changed = Condvar::new();
        let mut second = pin!(changed.wait_by((), || ready(())));
        let cx = &mut Context::from_waker(Waker::noop());
        let guard = Calls(|| {
            assert!(second.as_mut().poll(cx).is_pending());
            changed.notify_one();
        });
        let wait = || changed.wait_by_blocking(guard, || panic!("refused"));
        catch_unwind(AssertUnwindSafe(wait)).unwrap_err();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(cx).is_ready());
    }
}
