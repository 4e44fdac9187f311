//! A flag that can be waited for: Python's `threading.Event` and `asyncio.Event`.
//!
//! A bool and a list of listeners. A waiter listens first and then looks at the
//! flag, `set` sets the flag first and then notifies: so one of the two sees the other.

use std::fmt;

use event_listener::{Event as Listeners, Listener};

use crate::loom::atomic::{AtomicBool, Ordering};

/// A flag that threads and tasks wait for.
///
/// ```
/// use std::sync::Arc;
/// use trefoil::sync::Event;
///
/// let ready = Arc::new(Event::new());
/// let seen = ready.clone();
/// let thread = std::thread::spawn(move || seen.wait_blocking());
/// ready.set();
/// thread.join().unwrap();
/// assert!(ready.is_set());
/// ```
pub struct Event {
    set: AtomicBool,
    listeners: Listeners,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            set: AtomicBool::new(false),
            listeners: Listeners::new(),
        }
    }

    /// Sets the flag and wakes all who wait. Idempotent.
    pub fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        self.listeners.notify(usize::MAX);
    }

    /// Clears the flag: who waits from now on waits for the next `set`.
    pub fn clear(&self) {
        self.set.store(false, Ordering::SeqCst);
    }

    /// The flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    /// Waits until the flag is set. A `set` that is cleared again at once still
    /// wakes those who waited then.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn wait(&self) {
        if !self.is_set() {
            let listener = self.listeners.listen();
            if !self.is_set() {
                listener.await;
            }
        }
    }

    /// As [`wait`](Event::wait), blocking this thread.
    pub fn wait_blocking(&self) {
        if !self.is_set() {
            let listener = self.listeners.listen();
            if !self.is_set() {
                listener.wait();
            }
        }
    }

    /// As [`wait_blocking`](Event::wait_blocking), for at most `time`; false: the time is up.
    pub fn wait_timeout(&self, time: std::time::Duration) -> bool {
        if self.is_set() {
            return true;
        }
        let listener = self.listeners.listen();
        self.is_set() || listener.wait_timeout(time).is_some()
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("is_set", &self.is_set())
            .finish()
    }
}
