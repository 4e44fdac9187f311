//! A lock that its owner may take again: Python's `threading.RLock`.
//!
//! Because the lock can be held twice at once, it gives only shared access; put a `Cell` or
//! `RefCell` inside to change the value.
//!
//! **The owner** is the task that has taken it, or the thread if it was taken outside a task. This
//! crate knows only its own tasks; but every executor polls a task with a waker, and each task has
//! a different one.
//!
//! 1. Guards stay on their thread, so an owner is on one thread, and in one task of ours or in none
//!    ([`marker`]).
//! 2. [`lock`](ReentrantMutex::lock) is polled with a waker, which identifies the owner: two wakers
//!    are the same owner if their data is equal. The lock keeps a clone, so no other waker can have
//!    that address meanwhile. (The vtables are not compared, because a waker and its clone may have
//!    two copies of one.) A thread that blocks on a future is not a task, and owns the lock as in
//!    3.
//! 3. The blocking forms have no waker. If they take the lock, the owner is the thread, or this
//!    crate's task that runs there, which may take it again. If the lock was taken with a waker,
//!    that waker must be known to belong to the running code: to this crate's task, or to the root
//!    future of its loop.
//!
//! Rejected: only the thread and this crate's task as the owner, which admits all tasks of another
//! local executor at once.
//!
//! **Protocol.** Owner and depth are behind a small lock that is held for a few instructions. A
//! caller that finds another owner listens, checks again, and sleeps; the guard that makes the
//! depth zero releases the small lock and then notifies one waiter.
//!
//! - **S3** The value is accessible only through a guard; guards exist for one owner at a time, and
//!   stay on its thread (they are not `Send`). So the value is used by one thread at a time, and
//!   `T: Send` is enough.
//!
//! Tests: `tests/sync/sync.rs::a_reentrant_lock_excludes_others_and_not_its_owner`,
//! `tests/trefoil-checks/tests/models.rs::reentrant_lock_excludes_others`,
//! `tests/trefoil-checks/tests/cancel_safety.rs::a_reentrant_lock`.
#![allow(unsafe_code)]

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Deref;
use std::task::{Poll, Waker};

use super::wait_list::WaitList;
use crate::loom::Mutex;
use crate::loom::thread::{self, ThreadId};
use crate::parking::lock_events::{Access, Held, LockKind, Whose, waiting};
use crate::parking::waiters::Listener;
use crate::parking::{marker, park};

/// The task or thread that holds it.
struct Owner {
    thread: ThreadId,
    /// The mark of this crate's task that runs there; 0: none.
    mark: usize,
    /// The task's waker, if it was taken by [`ReentrantMutex::lock`].
    waker: Option<Waker>,
    depth: usize,
    noted: Held<false>,
}

impl Owner {
    fn is_here(&self) -> bool {
        self.thread == thread::this()
    }

    /// Whether the caller, with this waker or without one, is the owner.
    fn asks(&self, waker: Option<&Waker>) -> bool {
        let mark = marker::current();
        self.is_here()
            && self.mark == mark.addr()
            && match (&self.waker, waker) {
                (None, _) => true,
                (Some(own), Some(waker)) => own.data() == waker.data(),
                (Some(own), None) => {
                    let runs = marker::waker();
                    !runs.is_null() && own.data() == runs
                }
            }
    }
}

/// A re-entrant lock for threads and tasks.
///
/// It belongs to the task that has taken it, on any executor, or to the thread if it was taken
/// outside a task. Its owner may take it again; it is free once all guards are dropped.
///
/// - [`lock`](Self::lock) identifies a task by the waker that it is polled with. So futures that
///   are polled with one waker (`join!` and `select!` in one task, the tasks of an executor that
///   has one waker for all) count as one task, and own the lock together. A future with its own
///   waker (in a `FuturesUnordered`) counts as a separate task, which waits while the task around
///   it has the lock.
/// - [`lock_blocking`](Self::lock_blocking) and [`try_lock`](Self::try_lock) identify the thread
///   and, on it, the tasks of this crate. In a task of another executor they know only the thread:
///   the lock then belongs to the thread, and must not be held across an `.await`; and they cannot
///   re-take a lock that the task has taken with `lock`.
/// - Do not hold it across a `join` or a `scope` whose work takes it, too: that succeeds if the
///   work runs on this thread, and deadlocks if it runs on another, which is another owner. This is
///   not detected (not by `trefoil::inspect::on_stuck` either).
/// - Never hold it across a `Task::join` (or an `.await`) of a task that takes it: that task is
///   another owner wherever it runs, so its `lock().await` never ends, and its `lock_blocking`
///   never returns, or panics.
/// - A guard from `lock` keeps a waker of its task. So a detached task that holds a guard, and that
///   nothing can wake any more, is never freed.
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
    held: Mutex<Option<Owner>>,
    list: WaitList,
    value: T,
}

// SAFETY: S3: `&ReentrantMutex<T>` on several threads gives the `T` to one at a time: a `&T` comes
// from a guard; `enter` makes guards only for the owner that it has just found or entered under the
// small lock; and an owner is on one thread.
unsafe impl<T: Send> Sync for ReentrantMutex<T> {}

/// Access to the value of a [`ReentrantMutex`], until it is dropped. It stays on its thread.
///
/// ```
/// let lock = trefoil::sync::ReentrantMutex::new("shared");
/// let outer = lock.lock_blocking();
/// let inner = lock.lock_blocking(); // the same owner, once more
/// assert_eq!(*outer, *inner);
/// ```
#[must_use = "the lock is released when this is dropped"]
pub struct ReentrantMutexGuard<'a, T> {
    lock: &'a ReentrantMutex<T>,
    _on_this_thread: PhantomData<*const ()>,
}

impl<T> ReentrantMutex<T> {
    /// Makes a lock that is free.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self {
            held: Mutex::new(None),
            list: WaitList::new(LockKind::ReentrantMutex),
            value,
        }
    }

    /// Takes the lock if it is free, or if the caller already has it.
    ///
    /// In a task of another executor, a lock that this task has taken with [`lock`](Self::lock)
    /// counts as another owner's.
    pub fn try_lock(&self) -> Option<ReentrantMutexGuard<'_, T>> {
        self.enter(None)
    }

    /// Takes the lock if it is free, or if the caller already has it.
    fn enter(&self, waker: Option<&Waker>) -> Option<ReentrantMutexGuard<'_, T>> {
        let waker = waker.filter(|waker| !park::waits_with(waker));
        // User code makes and drops the clone, so this is not done under the small lock.
        let mut kept = waker.cloned();
        let mut held = self.held.lock();
        match &mut *held {
            Some(owner) if owner.asks(waker) => {
                owner.depth = owner.depth.checked_add(1).expect("too many guards");
            }
            Some(_) => return None,
            None => {
                *held = Some(Owner {
                    thread: thread::this(),
                    mark: marker::current().addr(),
                    waker: kept.take(),
                    depth: 1,
                    noted: Held::new(|| self.list.at(Access::Alone).0, Whose::Threads),
                });
            }
        }
        drop(held);
        Some(ReentrantMutexGuard {
            lock: self,
            _on_this_thread: PhantomData,
        })
    }

    /// Takes the lock; otherwise listens for its release, and then tries again.
    fn enter_or_listen(
        &self,
        waker: Option<&Waker>,
    ) -> Result<ReentrantMutexGuard<'_, T>, Listener<'_>> {
        if let Some(guard) = self.enter(waker) {
            return Ok(guard);
        }
        let listener = self.list.waiters.listen();
        self.enter(waker).ok_or(listener)
    }

    /// Takes the lock, waiting while another owner has it.
    ///
    /// Cancel safe: dropping it takes the listener off the list.
    pub async fn lock(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            let taken = poll_fn(|cx| Poll::Ready(self.enter_or_listen(Some(cx.waker()))));
            // The guard must not live across the wait: it would tie the future to its thread.
            let listener = match taken.await {
                Ok(guard) => return guard,
                Err(listener) => listener,
            };
            waiting(listener, self.list.at(Access::Alone)).await;
        }
    }

    /// Locks, blocking this thread: see [`lock`](ReentrantMutex::lock).
    ///
    /// # Panics
    /// If another task of this thread has it, because that task could never release it while this
    /// thread waits: use [`lock`](ReentrantMutex::lock) there. On an event loop's thread whoever
    /// else has it: [there](crate::sync#blocking), too, use `lock().await`.
    #[track_caller]
    pub fn lock_blocking(&self) -> ReentrantMutexGuard<'_, T> {
        loop {
            match self.enter_or_listen(None) {
                Ok(guard) => return guard,
                Err(mut listener) => {
                    let is_here = self.held.lock().as_ref().is_some_and(Owner::is_here);
                    assert!(
                        !is_here,
                        "trefoil: this thread would wait for itself: a ReentrantMutex that it asks for by lock_blocking() is \
                         held by another task of this thread, or by this one through lock().await on another executor: \
                         .await lock() here, too, or hand the guard on"
                    );
                    listener.wait(None, self.list.at(Access::Alone), "ReentrantMutex::lock");
                }
            }
        }
    }

    /// The value; `&mut self` proves that it is not locked.
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
                owner.noted = Held::default(); // under the small lock: it is not released yet
                let owner = held.take();
                drop(held);
                self.lock.list.waiters.wake_one();
                drop(owner); // its waker's destructor is user code
            }
        }
    }
}

impl<T: Default> Default for ReentrantMutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

debug!(impl<T> ReentrantMutex<T>, self, held = self.held.lock().is_some());

impl<T: fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
