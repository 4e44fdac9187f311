//! A lock that its owner may take again: Python's `threading.RLock`.
//!
//! The owner is a thread together with the task that runs on it: two tasks of one
//! event loop exclude each other, as two threads do. Since the lock can be held
//! twice at once, it gives shared access only; put a `Cell` or `RefCell` inside to
//! change what it protects.
//!
//! **Protocol.** Owner and depth are behind a small lock that is held for a few
//! instructions. Who finds another owner listens, looks again, and sleeps;
//! the guard that makes the depth zero lets go of the small lock and then notifies one.
//!
//! - **S3** The value is reached through a guard only; guards exist for one owner at
//!   a time, and stay on its thread (they are not `Send`). So the value is used by one thread
//!   at a time, and `T: Send` is enough.
//!
//! Tests: `tests/sync.rs`.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use event_listener::{Event as Listeners, EventListener, Listener};

use super::strand;
use crate::loom::Mutex;
use crate::loom::thread::{self, ThreadId};

/// Whoever holds it: a thread, and what runs on it.
type Owner = (ThreadId, usize);

fn me() -> Owner {
    (thread::this(), strand::current().addr())
}

/// A re-entrant lock for threads and tasks.
///
/// ```
/// use std::cell::Cell;
/// use trefoil::sync::ReentrantMutex;
///
/// let lock = ReentrantMutex::new(Cell::new(1));
/// let outer = lock.lock_blocking();
/// let inner = lock.lock_blocking(); // no deadlock
/// inner.set(2);
/// drop(inner);
/// assert_eq!(outer.get(), 2);
/// ```
pub struct ReentrantMutex<T> {
    held: Mutex<Option<(Owner, usize)>>,
    listeners: Listeners,
    value: T,
}

// SAFETY: S3: `&ReentrantMutex<T>` on several threads gives the `T` to one at a time.
unsafe impl<T: Send> Sync for ReentrantMutex<T> {}

/// Access to what a [`ReentrantMutex`] protects, until it is dropped. It stays on its
/// thread.
#[must_use = "the lock is let go of when this is dropped"]
pub struct ReentrantMutexGuard<'a, T> {
    lock: &'a ReentrantMutex<T>,
    _on_this_thread: PhantomData<*const ()>,
}

impl<T> ReentrantMutex<T> {
    /// A lock that nobody holds.
    pub fn new(value: T) -> Self {
        Self {
            held: Mutex::new(None),
            listeners: Listeners::new(),
            value,
        }
    }

    /// Takes the lock if nobody else has it.
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        let me = me();
        let mut held = self.held.lock();
        match &mut *held {
            None => *held = Some((me, 1)),
            Some((owner, depth)) if *owner == me => *depth += 1,
            Some(_) => return None,
        }
        drop(held);
        Some(ReentrantMutexGuard {
            lock: self,
            _on_this_thread: PhantomData,
        })
    }

    /// Takes the lock, or listens for its end: in that order, and looks again after.
    fn try_or_listen(&self) -> Result<ReentrantMutexGuard<'_, T>, EventListener> {
        if let Some(guard) = self.try_lock() {
            return Ok(guard);
        }
        let listener = self.listeners.listen();
        self.try_lock().ok_or(listener)
    }

    /// Takes the lock, waiting while somebody else has it.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            // The guard must not live across the wait: it would tie the future to its thread.
            let listener = match self.try_or_listen() {
                Ok(guard) => return guard,
                Err(listener) => listener,
            };
            listener.await;
        }
    }

    /// As [`lock`](ReentrantMutex::lock), blocking this thread.
    pub fn lock_blocking(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            match self.try_or_listen() {
                Ok(guard) => return guard,
                Err(listener) => listener.wait(),
            }
        }
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for ReentrantMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lock.value
    }
}

impl<T> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        let mut held = self.lock.held.lock();
        if let Some((_, depth)) = &mut *held {
            *depth -= 1;
            if *depth == 0 {
                *held = None;
                drop(held);
                self.lock.listeners.notify(1);
            }
        }
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantMutex")
            .field("held", &self.held.lock().is_some())
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
