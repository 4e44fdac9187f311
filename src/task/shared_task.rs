//! One result for many waiters.
//!
//! The task's callback puts the result into a cell that is written once and then
//! shared, and wakes whoever waits; each waiter clones the value out. No lock is
//! held while a value is cloned or a waker woken.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::panic::contain;
use super::runnable::TaskRef;
use super::{Task, TaskError, TaskId, unobserved};
use crate::loom::atomic::AtomicBool;
use crate::loom::{Arc, Mutex};
use crate::sync::block_on;

/// A task whose result many may await or join; see [`Task::shared`].
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let shared = pool.spawn(|| "result".to_owned()).shared();
/// let other = shared.clone();
/// let thread = std::thread::spawn(move || other.join().unwrap());
/// assert_eq!(shared.join().unwrap(), thread.join().unwrap());
/// ```
///
/// Dropping all of them detaches the task.
///
/// # Cancel safety
/// Dropping one loses nothing for the others.
#[must_use = "dropping every one of them detaches the task"]
pub struct SharedTask<T> {
    shared: Arc<Shared<T>>,
    /// The place of our waker.
    waker: Option<usize>,
}

struct Shared<T> {
    task: TaskRef,
    result: OnceLock<Result<T, TaskError>>,
    wakers: Mutex<Slab<Waker>>,
    /// Somebody has had the result.
    observed: AtomicBool,
}

pub(super) fn share<T: Clone + Send + Sync + 'static>(task: Task<T>) -> SharedTask<T> {
    let shared = Arc::new(Shared {
        task: task.task_ref(),
        result: OnceLock::new(),
        wakers: Mutex::new(Slab::new()),
        observed: AtomicBool::new(false),
    });
    let callback = shared.clone();
    task.on_done(move |result| {
        let _ = callback.result.set(result);
        let wakers = std::mem::take(&mut *callback.wakers.lock());
        for (_, waker) in wakers {
            contain(|| waker.wake()); // the others count on us
        }
    });
    SharedTask {
        shared,
        waker: None,
    }
}

impl<T: Clone> SharedTask<T> {
    /// Waits for the end, blocking this thread, and gives a clone of the result.
    ///
    /// # Errors
    /// As [`Task::join`].
    pub fn join(&self) -> Result<T, TaskError> {
        block_on(self.clone()).unwrap_or(Err(TaskError::WouldBlock))
    }

    /// A clone of the result, if the task has ended; never blocks.
    #[must_use]
    pub fn try_join(&self) -> Option<Result<T, TaskError>> {
        let result = self.shared.result.get()?;
        self.shared.observed.store(true, Ordering::Relaxed);
        Some(result.clone())
    }
}

impl<T> SharedTask<T> {
    /// As [`Task::cancel`]: for all who wait.
    pub fn cancel(&self) -> bool {
        self.shared.task.cancel()
    }

    /// The result is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.result.get().is_some()
    }

    /// The id of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.shared.task.id()
    }
}

impl<T: Clone> Future for SharedTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.try_join() {
            return Poll::Ready(result);
        }
        let clone = cx.waker().clone();
        let this = &mut *self;
        let replaced = {
            let mut wakers = this.shared.wakers.lock();
            match this.waker.and_then(|key| wakers.get_mut(key)) {
                Some(place) => Some(std::mem::replace(place, clone)),
                None => {
                    this.waker = Some(wakers.insert(clone));
                    None
                }
            }
        };
        drop(replaced);
        // Registered, then looked: a result that comes after the look finds the waker.
        self.try_join().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Clone for SharedTask<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            waker: None,
        }
    }
}

impl<T> Drop for SharedTask<T> {
    fn drop(&mut self) {
        if let Some(key) = self.waker.take() {
            let waker = {
                let mut wakers = self.shared.wakers.lock();
                // After the end the list was taken; ours is not in it any more.
                if self.shared.result.get().is_some() {
                    None
                } else {
                    wakers.try_remove(key)
                }
            };
            drop(waker);
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if !self.observed.load(Ordering::Relaxed)
            && let Some(Err(error)) = self.result.take()
        {
            unobserved::report(self.task.header(), error);
        }
    }
}

// Nothing in it is pinned.
impl<T> Unpin for SharedTask<T> {}

impl<T> fmt::Debug for SharedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTask")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
