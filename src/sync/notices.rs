//! What a condition variable is beside its lock: the list of its waiters.
//!
//! 1. A waiter enters the list while it has the lock, and only then lets go of it. So a thread that
//!    changes the condition under the lock and then notifies finds it: no notification is lost.
//! 2. Told, it takes the lock again. Until it has it, the notification is not used: a waiter that is
//!    dropped in between passes it on ([`Unused`]), and one that is dropped while it is still in the
//!    list does so, too (`event_listener`).
//!
//! The lock is the caller's: whatever its guard lets go of when dropped, and a way to take it again.
//! So [`Condvar`](super::Condvar) has the lock of its users, and the models have loom's.
//!
//! Checked by `checks/tests/conditions.rs`, every interleaving, with a twin that lets go of the lock first;
//! and through [`Condvar`](super::Condvar) by `tests/task/sync.rs` and `checks/tests/cancel_safety.rs`.

use event_listener::{Event as Listeners, IntoNotification, Listener};

/// The waiters of a condition.
#[derive(Debug, Default)]
pub(super) struct Notices {
    listeners: Listeners,
}

impl Notices {
    /// There is no waiter.
    pub(super) fn new() -> Self {
        Self {
            listeners: Listeners::new(),
        }
    }

    /// Lets go of the lock by dropping `guard`, waits, and takes it again.
    pub(super) async fn wait<G, L: Future>(&self, guard: G, lock: impl FnOnce() -> L) -> L::Output {
        let listener = self.listeners.listen();
        drop(guard);
        listener.await;
        let unused = Unused(self);
        let guard = lock().await;
        std::mem::forget(unused);
        guard
    }

    /// As `wait`, blocking this thread.
    pub(super) fn wait_blocking<G, R>(&self, guard: G, lock: impl FnOnce() -> R) -> R {
        let listener = self.listeners.listen();
        drop(guard);
        listener.wait();
        lock()
    }

    /// Tells the one that has waited longest.
    pub(super) fn notify_one(&self) {
        self.listeners.notify(1.additional());
    }

    /// Tells all.
    pub(super) fn notify_all(&self) {
        self.listeners.notify(usize::MAX);
    }
}

/// A notification that has been had and not used yet.
struct Unused<'a>(&'a Notices);

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
