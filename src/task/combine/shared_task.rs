//! One result for many waiters.
//!
//! The task has one consumer, which wakes all waiters. The first waiter to check after the end
//! takes an error out of the task, or leaves the value where it is, for ever; each waiter clones it
//! from there. So a result needs only `Clone`. If no waiter has checked when the last of the
//! handles is dropped, an error is still in the task, and is reported then. No lock is held while a
//! value is cloned or a waker woken.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker, ready};

use crate::loom::{Arc, Mutex};
use crate::parking::block_on;
use crate::parking::waiters::Waiters;
use crate::task::awaited;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::raw::{StoredValue, Task, TaskRef};

/// A task whose result many can await or join; see [`Task::shared`].
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let shared = pool.spawn(|| "result".to_owned()).shared();
/// let other = shared.clone();
/// let thread = std::thread::spawn(move || other.join().unwrap());
/// assert_eq!(shared.join().unwrap(), thread.join().unwrap());
/// ```
///
/// Dropping all of the handles detaches the task, or cancels it if it was made
/// [`cancel_on_drop`](Task::cancel_on_drop).
///
/// # Cancel safety
/// Dropping one handle loses nothing for the others.
#[must_use = "dropping every one of them detaches the task"]
pub struct SharedTask<T> {
    shared: Arc<SharedResult<T>>,
    /// The key under which this handle's waker is registered.
    key: Option<u64>,
}

struct SharedResult<T> {
    /// A reference for cancelling the task without the lock.
    to_cancel: TaskRef,
    /// `None`: the result is there.
    task: Mutex<Option<Task<T>>>,
    result: OnceLock<Result<StoredValue<T>, TaskError>>,
    waiting: Arc<Waiters>,
}

impl<T> Task<T> {
    /// A handle that can be cloned. Each clone awaits or joins the task, and gets a clone of the
    /// result. The handles are `Send` and `Sync` if the result is both.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let first = pool.spawn(|| vec![1, 2, 3]).shared();
    /// let second = first.clone();
    /// assert_eq!(first.join().unwrap(), second.join().unwrap());
    /// ```
    pub fn shared(self) -> SharedTask<T>
    where
        T: Clone,
    {
        let mut task = self;
        let waiting = Arc::new(Waiters::default());
        let _ended_already = !task.register(Waker::from(waiting.clone()));
        SharedTask {
            shared: Arc::new(SharedResult {
                to_cancel: task.task_ref(),
                task: Mutex::new(Some(task)),
                result: OnceLock::new(),
                waiting,
            }),
            key: None,
        }
    }
}

impl<T> SharedResult<T> {
    /// The result, if the task has ended.
    fn result(&self) -> Option<Result<&T, &TaskError>> {
        if self.result.get().is_none() && self.to_cancel.is_finished() {
            // The handle is moved under the lock, once.
            let mut task = self.task.lock();
            if let Some(task) = task.take() {
                let _ = self.result.set(task.into_stored());
            }
        }
        let result = self.result.get()?;
        Some(result.as_ref().map(StoredValue::get))
    }
}

impl<T: Clone> SharedTask<T> {
    /// Blocks this thread until the task has ended, and returns a clone of the result.
    ///
    /// # Errors
    /// See [`Task::join`].
    pub fn join(&self) -> Result<T, TaskError> {
        if self.shared.result().is_none() {
            // The task would wait for itself for ever.
            if self.shared.to_cancel.needs_this_thread() {
                return Err(TaskError::WouldBlock);
            }
            let mut waiter = self.clone();
            block_on(poll_fn(|cx| waiter.poll_ended(cx)));
        }
        self.try_join().unwrap_or(Err(TaskError::WouldBlock))
    }

    /// A clone of the result, if the task has ended; never blocks.
    #[must_use]
    pub fn try_join(&self) -> Option<Result<T, TaskError>> {
        match self.shared.result()? {
            Ok(value) => Some(Ok(value.clone())),
            Err(error) => Some(Err(error.clone())),
        }
    }
}

impl<T> SharedTask<T> {
    /// Waits until there is a result.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.result().is_some() {
            return Poll::Ready(());
        }
        self.shared.waiting.register(&mut self.key, cx.waker());
        awaited::note(&self.shared.to_cancel);
        // The waker is registered first, and then the result is checked: a result that comes after
        // the check finds the waker.
        match self.shared.result() {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }

    /// Cancels the task, for all waiters; see [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        self.shared.to_cancel.cancel()
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.shared.to_cancel.is_finished()
    }

    /// The id of the task.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.shared.to_cancel.id()
    }
}

impl<T: Clone> Future for SharedTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_ended(cx));
        self.try_join().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Clone for SharedTask<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            key: None,
        }
    }
}

impl<T> Drop for SharedTask<T> {
    fn drop(&mut self) {
        self.shared.waiting.unregister(self.key);
    }
}

debug!(impl<T> SharedTask<T>, self, id = self.id(), is_finished = self.is_finished());
