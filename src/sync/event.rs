//! A flag that can be waited for: Python's `threading.Event` and `asyncio.Event`.
//!
//! A bool and a list of waiters. A waiter first listens and then reads the flag; `set` first sets
//! the flag and then notifies. So one of the two sees the other.

use std::time::{Duration, Instant};

use super::wait_list::WaitList;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::parking::lock_events::{Access, LockKind, waiting};
use crate::parking::waiters::Listener;

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
    list: WaitList,
}

impl Event {
    /// An event that is not set.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self {
            set: AtomicBool::new(false),
            list: WaitList::new(LockKind::Event),
        }
    }

    /// Sets the flag and wakes all waiters. If it is set already, nothing happens.
    pub fn set(&self) {
        self.set.store(true, Ordering::SeqCst);
        self.list.waiters.wake_all();
    }

    /// Clears the flag: later waiters wait for the next `set`.
    pub fn clear(&self) {
        self.set.store(false, Ordering::SeqCst);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    /// A listener, or `None` if the flag is set. It listens first and then checks the flag.
    fn listen(&self) -> Option<Listener<'_>> {
        if self.is_set() {
            return None;
        }
        let listener = self.list.waiters.listen();
        (!self.is_set()).then_some(listener)
    }

    /// Waits until the flag is set. A `set` that is cleared again at once still
    /// wakes the waiters of that moment.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn wait(&self) {
        if let Some(listener) = self.listen() {
            waiting(listener, self.list.at(Access::Turn)).await;
        }
    }

    /// Waits until the event is set, blocking this thread: see [`wait`](Event::wait).
    ///
    /// # Panics
    /// On an event loop's thread, if the flag is not set: [there](crate::sync#blocking) use
    /// `wait().await`.
    #[track_caller]
    pub fn wait_blocking(&self) {
        self.wait_until(None);
    }

    /// Blocks until the flag is set, for at most `time`; returns false if the time is up. See
    /// [`wait_blocking`](Event::wait_blocking).
    ///
    /// # Panics
    /// On an event loop's thread, if it would have to wait:
    /// [there](crate::sync#blocking) use `timeout(time, event.wait()).await`.
    #[track_caller]
    pub fn wait_timeout_blocking(&self, time: Duration) -> bool {
        // A deadline beyond the clock's range counts as none.
        self.wait_until(Instant::now().checked_add(time))
    }

    #[track_caller]
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        match self.listen() {
            Some(mut listener) => {
                listener.wait(deadline, self.list.at(Access::Turn), "Event::wait")
            }
            None => true,
        }
    }
}

impl Default for Event {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

debug!(
    impl Event,
    self,
    set = self.set,
    waiters = self.list.waiters
);
