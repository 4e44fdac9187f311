//! A lock that its owner may take again: Python's `threading.RLock`.
//!
//! Since the lock can be held twice at once, it gives shared access only; put a `Cell` or `RefCell` inside to
//! change what it protects.
//!
//! **The owner** is the task that has taken it, or the thread, where no task has. What a task is, executors know and this
//! crate does not, but for its own; what they all have is the waker that a future is polled with, and each task has its own.
//!
//! 1. Guards stay on their thread, so an owner is on one thread, and in one task of ours or in none ([`marker`]).
//! 2. [`lock`](ReentrantMutex::lock) is polled with a waker, and that is the owner: two of them are the same if their data
//!    is. The lock keeps a clone, so no other waker can have that address meanwhile. (The tables of two wakers are not
//!    compared: a waker and its clone may have two copies of one.) Only a thread that waits for a future is no task, and owns as by 3.
//! 3. The blocking forms see no waker. Where they take the lock, it is the thread's, or that of our task there, and whatever
//!    that has on the thread meanwhile may take it again. Where a waker has it, it must be known to be that of
//!    the code that runs: of our task, or of the root future of our loop.
//!
//! Rejected: the thread and our task alone, which lets in all tasks of another local executor at once.
//!
//! **Protocol.** Owner and depth are behind a small lock that is held for a few
//! instructions. A caller that finds another owner listens, looks again, and sleeps;
//! the guard that makes the depth zero lets go of the small lock and then notifies one.
//!
//! - **S3** The value is reached through a guard only; guards exist for one owner at
//!   a time, and stay on its thread (they are not `Send`). So the value is used by one thread
//!   at a time, and `T: Send` is enough.
//!
//! Tests: `tests/task/sync.rs`, `checks/tests/{runtimes,models,cancel_safety}.rs`.
#![allow(unsafe_code)]

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::task::{Poll, Waker};

use event_listener::{Event as Listeners, EventListener, Listener};

use super::{marker, park};
use crate::loom::Mutex;
use crate::loom::thread::{self, ThreadId};

/// The task or thread that holds it.
struct Owner {
    thread: ThreadId,
    /// The task of ours that runs there; 0: none.
    mark: usize,
    /// Of the task, if it was taken by [`ReentrantMutex::lock`].
    waker: Option<Waker>,
    depth: usize,
}

impl Owner {
    fn is_here(&self) -> bool {
        self.thread == thread::this()
    }

    /// It is the caller: with this waker, or without one.
    fn asks(&self, waker: Option<&Waker>) -> bool {
        let mark = marker::current();
        self.is_here()
            && self.mark == mark.addr()
            && match (&self.waker, waker) {
                (None, _) => true,
                (Some(own), Some(waker)) => own.data() == waker.data(),
                (Some(own), None) => {
                    let runs = match mark.is_null() {
                        true => marker::current_loop(),
                        false => mark,
                    };
                    !runs.is_null() && own.data() == runs
                }
            }
    }
}

/// A re-entrant lock for threads and tasks.
///
/// It belongs to the task that has taken it, on any executor, or to the thread, where no task has. Its owner may take it
/// again; it is free once all the guards are dropped.
///
/// - [`lock`](Self::lock) knows a task by the waker that it is polled with. So futures that are polled
///   with one waker (`join!` and `select!` in one task, the tasks of an executor that has one waker for all) are one task, and
///   have it together; and a future that is polled with a waker of its own (in a `FuturesUnordered`) is a task for itself, which
///   waits while the task around it has the lock.
/// - [`lock_blocking`](Self::lock_blocking) and [`try_lock`](Self::try_lock) know a thread and, on it, the tasks
///   of this crate. In a task of another executor they know the thread only: what they have taken is the thread's, and must not be held
///   across an `.await`; and they do not take again what the task has taken by `lock`.
/// - Held across a `join` or a `scope` whose work takes it, too, it is fine where that work runs in turn on this thread, and
///   stops it for ever where it runs on another: another thread is another owner. Nothing here finds that out.
/// - Never hold it across a `Task::join` (or an `.await`) of a task that takes it: that task is another owner wherever it runs, so its `lock().await`
///   waits for ever, and its `lock_blocking` does, too, or panics.
/// - What a task has by `lock` keeps a waker of that task. So a detached task that nothing else can wake any more stays in memory
///   for ever, with its guard.
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
#[derive(Default)]
pub struct ReentrantMutex<T> {
    held: Mutex<Option<Owner>>,
    listeners: Listeners,
    value: T,
}

// SAFETY: S3: `&ReentrantMutex<T>` on several threads gives the `T` to one at a time: a `&T` comes from a guard, guards are
// made by `take` for the owner that it has just found, or put, under the small lock, and an owner is on one thread.
unsafe impl<T: Send> Sync for ReentrantMutex<T> {}

/// Access to what a [`ReentrantMutex`] protects, until it is dropped. It stays on its
/// thread.
#[must_use = "the lock is let go of when this is dropped"]
pub struct ReentrantMutexGuard<'a, T> {
    lock: &'a ReentrantMutex<T>,
    _on_this_thread: PhantomData<*const ()>,
}

impl<T> ReentrantMutex<T> {
    /// A lock that is free.
    pub fn new(value: T) -> Self {
        Self {
            held: Mutex::new(None),
            listeners: Listeners::new(),
            value,
        }
    }

    /// Takes the lock if it is free, or the caller's already.
    ///
    /// In a task of another executor, what that task has by [`lock`](Self::lock) counts as another owner's.
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        self.take(None)
    }

    /// Takes the lock if it is free, or the caller's already.
    fn take(&self, waker: Option<&Waker>) -> Option<ReentrantMutexGuard<'_, T>> {
        let waker = waker.filter(|waker| !park::waits_with(waker));
        // Code of the user's makes and drops the clone, so not under the small lock.
        let mut kept = waker.cloned();
        let mut held = self.held.lock();
        match &mut *held {
            Some(owner) if owner.asks(waker) => owner.depth += 1,
            Some(_) => return None,
            None => {
                *held = Some(Owner {
                    thread: thread::this(),
                    mark: marker::current().addr(),
                    waker: kept.take(),
                    depth: 1,
                });
            }
        }
        drop(held);
        Some(ReentrantMutexGuard {
            lock: self,
            _on_this_thread: PhantomData,
        })
    }

    /// Takes the lock, or listens for its end: in that order, and looks again after.
    fn take_or_listen(
        &self,
        waker: Option<&Waker>,
    ) -> Result<ReentrantMutexGuard<'_, T>, EventListener> {
        if let Some(guard) = self.take(waker) {
            return Ok(guard);
        }
        let listener = self.listeners.listen();
        self.take(waker).ok_or(listener)
    }

    /// Takes the lock, waiting while another owner has it.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            let taken = poll_fn(|cx| Poll::Ready(self.take_or_listen(Some(cx.waker()))));
            // The guard must not live across the wait: it would tie the future to its thread.
            let listener = match taken.await {
                Ok(guard) => return guard,
                Err(listener) => listener,
            };
            listener.await;
        }
    }

    /// As [`lock`](ReentrantMutex::lock), blocking this thread.
    ///
    /// # Panics
    /// If another task of this thread has it, which could never let go of it while this thread waits: `.await`
    /// [`lock`](ReentrantMutex::lock) there.
    pub fn lock_blocking(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            match self.take_or_listen(None) {
                Ok(guard) => return guard,
                Err(listener) => {
                    let is_here = self.held.lock().as_ref().is_some_and(Owner::is_here);
                    assert!(
                        !is_here,
                        "trefoil: this thread would wait for itself: a ReentrantMutex that it asks for by lock_blocking() is \
                         held by another task of this thread, or by this one through lock().await on another executor: \
                         .await lock() here, too, or hand the guard on"
                    );
                    park::blocked(|| listener.wait());
                }
            }
        }
    }

    /// The value, which no other thread can reach.
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
        if let Some(owner) = &mut *held {
            owner.depth -= 1;
            if owner.depth == 0 {
                let owner = held.take();
                drop(held);
                self.lock.listeners.notify(1);
                drop(owner); // its waker's destructor is code of the user's
            }
        }
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
