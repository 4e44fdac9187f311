//! Cancellation tokens: a tree of flags that ask work to end.
//!
//! **Job.** Cancelling a task from outside stops work that has not begun; running work must check
//! for it. It checks a [`CancelToken`]: a flag that a parent sets in all its children, with an
//! optional deadline after which it counts as set.
//!
//! **Protocol.** 1. A child is entered in its parent's list under the parent's lock; a child of a
//! cancelled parent is cancelled from the start. 2. `cancel` sets the flag here and in all tokens
//! below. It reads each list under that list's lock. Then it empties the lists and wakes the
//! waiters. So a woken waiter, and a thread that cancels the same token meanwhile, finds all flags
//! set (a list is emptied only after its children's flags are set); no lock is held while user code
//! runs, and never two locks at once. The flag is set before the list is read, so a child that is
//! entered later sees it. 3. A waiter registers its waker and then checks the flag (`waiters.rs`),
//! so `cancel` finds the waker or the waiter sees the flag.
//!
//! **Deadlines.** The deadline that counts is the nearest of a token and its ancestors, computed
//! when the token is made. There is no timer: the first check after the deadline cancels the token,
//! and a waiter has an alarm.
//!
//! **Cost.** `is_cancelled` is one relaxed load, and a clock read if there is a deadline. A token
//! is one allocation; adding and removing a child take constant time; cancelling is linear in the
//! number of descendants.
//!
//! Which token a task's code sees, and when it is cancelled: `task/raw/run.rs`.
//!
//! Tests: `tests/task/group.rs`,
//! `tests/trefoil-checks/tests/models.rs::{token_cancel_vs_birth_of_a_child,
//! token_cancel_vs_await_and_drop, token_of_a_running_task_vs_cancel}`.

use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Instant;

use slab::Slab;

use super::error::TaskError;
use crate::loom::atomic::{AtomicBool, Ordering, fence};
use crate::loom::{Arc, Mutex};
use crate::parking::block_on;
use crate::parking::waiters::Waiters;
use crate::timer;
use crate::timer::Alarm;

/// A cancellation flag for a whole tree of work.
///
/// Cloning gives another handle to the same flag; [`child`](CancelToken::child) makes a new flag
/// below it. Cancelling a token cancels all tokens below it, and none above.
///
/// ```
/// use trefoil::CancelToken;
///
/// let all = CancelToken::new();
/// let one = all.child();
/// one.cancel();
/// assert!(one.is_cancelled() && !all.is_cancelled());
/// let other = all.child();
/// all.cancel();
/// assert!(other.is_cancelled());
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<TokenNode>,
}

struct TokenNode {
    cancelled: AtomicBool,
    /// The nearest deadline of this token and its ancestors.
    deadline: Option<Instant>,
    /// The parent, and the key of this token in the parent's list. Children keep their parents
    /// alive.
    parent: Option<(CancelToken, usize)>,
    children: Mutex<Slab<Weak<TokenNode>>>,
    waiters: Waiters,
}

impl CancelToken {
    /// Makes a token without a parent: no other token cancels it.
    ///
    /// ```
    /// let token = trefoil::CancelToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with(None, None, false)
    }

    fn with(parent: Option<(Self, usize)>, deadline: Option<Instant>, cancelled: bool) -> Self {
        Self {
            node: Arc::new(TokenNode {
                cancelled: AtomicBool::new(cancelled),
                deadline,
                parent,
                children: Mutex::new(Slab::new()),
                waiters: Waiters::default(),
            }),
        }
    }

    /// Makes a new token below this one.
    ///
    /// ```
    /// let job = trefoil::CancelToken::new();
    /// let (one, other) = (job.child(), job.child());
    /// one.cancel(); // neither its parent nor its sibling
    /// assert!(!job.is_cancelled() && !other.is_cancelled());
    /// job.cancel(); // and all below it
    /// assert!(other.is_cancelled());
    /// ```
    #[must_use]
    pub fn child(&self) -> Self {
        self.new_child(self.node.deadline)
    }

    /// Makes a child that also counts as cancelled from `deadline` on. The nearest deadline among a
    /// token and its ancestors counts; one in the past cancels at once.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let job = trefoil::CancelToken::new();
    /// let step = job.with_deadline(Instant::now() + Duration::from_millis(5));
    /// step.cancelled().join().unwrap(); // after five milliseconds
    /// assert!(step.is_cancelled() && !job.is_cancelled());
    /// ```
    #[must_use]
    pub fn with_deadline(&self, deadline: Instant) -> Self {
        let nearest = self
            .node
            .deadline
            .map_or(deadline, |outer| outer.min(deadline));
        self.new_child(Some(nearest))
    }

    fn new_child(&self, deadline: Option<Instant>) -> Self {
        if self.is_cancelled() || deadline.is_some_and(|deadline| timer::now() >= deadline) {
            return Self::with(None, deadline, true);
        }
        let mut children = self.node.children.lock();
        let entry = children.vacant_entry();
        let child = Self::with(Some((self.clone(), entry.key())), deadline, false);
        entry.insert(Arc::downgrade(&child.node));
        drop(children);
        // The child is added first and then checked: a cancellation that took the list before that
        // has set the flag before that.
        if self.node.cancelled.load(Ordering::SeqCst) {
            child.cancel();
        }
        child
    }

    /// Sets the flag here and in all tokens below, and then wakes the waiters, holding no lock. It
    /// may be called more than once. The time is linear in the number of descendants.
    ///
    /// ```
    /// let token = trefoil::CancelToken::new();
    /// let copy = token.clone(); // the same token
    /// token.cancel();
    /// assert!(copy.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        let mut nodes = vec![self.node.clone()];
        let mut flagged = 0;
        while let Some(node) = nodes.get(flagged).cloned() {
            flagged += 1;
            node.cancelled.store(true, Ordering::SeqCst);
            for (_, child) in &*node.children.lock() {
                if let Some(child) = child.upgrade() {
                    nodes.push(child);
                }
            }
        }
        for node in &nodes {
            let _flagged = std::mem::take(&mut *node.children.lock());
            node.waiters.wake_all();
        }
    }

    /// Whether the flag is set or the deadline has passed. Cost: one relaxed load, and a clock read
    /// if there is a deadline.
    ///
    /// ```
    /// use trefoil::{CancelToken, ThreadPool};
    ///
    /// let (pool, token) = (ThreadPool::with_threads(1), CancelToken::new());
    /// let task = pool.spawn({
    ///     let token = token.clone();
    ///     move || {
    ///         let mut steps = 0u64;
    ///         while !token.is_cancelled() {
    ///             steps += 1;
    ///         }
    ///         steps
    ///     }
    /// });
    /// token.cancel();
    /// assert!(task.join().is_ok());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        if self.node.cancelled.load(Ordering::Relaxed) {
            return true;
        }
        let Some(deadline) = self.node.deadline else {
            return false;
        };
        if timer::now() < deadline {
            return false;
        }
        self.cancel();
        true
    }

    /// [`is_cancelled`](Self::is_cancelled) as a result, for `?`: in a closure of
    /// [`try_map`](crate::ThreadPool::try_map) or
    /// [`try_for_each`](crate::iter::ParallelIterator::try_for_each), and in a long item. The cost
    /// is the same.
    ///
    /// What the thread that cancels did before, this one sees after an error.
    ///
    /// # Errors
    /// [`TaskError::Cancelled`] if the flag is set or the deadline has passed.
    ///
    /// ```
    /// use trefoil::{CancelToken, TaskError, ThreadPool};
    ///
    /// let (pool, token) = (ThreadPool::with_threads(2), CancelToken::new());
    /// let rows = vec![vec![1, 2], vec![3]];
    /// let sums = pool.try_map(&rows, |row| {
    ///     let mut sum = 0;
    ///     for n in row {
    ///         token.check()?; // also within an item
    ///         sum += n;
    ///     }
    ///     Ok::<i32, TaskError>(sum)
    /// });
    /// assert_eq!(sums?, [3, 3]);
    /// token.cancel();
    /// assert!(matches!(token.check(), Err(TaskError::Cancelled)));
    /// # Ok::<_, TaskError>(())
    /// ```
    #[inline]
    pub fn check(&self) -> Result<(), TaskError> {
        if !self.is_cancelled() {
            return Ok(());
        }
        fence(Ordering::Acquire);
        Err(TaskError::Cancelled)
    }

    /// The nearest deadline of this token and its ancestors.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let limit = Instant::now() + Duration::from_secs(60);
    /// let token = trefoil::CancelToken::new().with_deadline(limit);
    /// let later = limit + Duration::from_secs(60);
    /// assert_eq!(token.with_deadline(later).deadline(), Some(limit)); // the nearest
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline
    }

    /// Waits until the token is cancelled, which may never happen.
    ///
    /// `.await` it on any runtime, or call [`join`](Cancelled::join) in blocking code.
    ///
    /// ```
    /// use trefoil::{CancelToken, EventLoop};
    ///
    /// let token = CancelToken::new();
    /// let stop = token.clone();
    /// EventLoop::new()?.block_on(async move {
    ///     let waiter = trefoil::spawn(async move { token.cancelled().await });
    ///     stop.cancel();
    ///     waiter.await.unwrap();
    /// });
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it only removes its waker.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            alarm: self.node.deadline.map(Alarm::new),
            token: self.clone(),
            key: None,
        }
    }
}

impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

debug!(
    impl CancelToken,
    self,
    cancelled = self.node.cancelled.load(Ordering::Relaxed),
    deadline = self.node.deadline
);

impl Drop for TokenNode {
    fn drop(&mut self) {
        // A chain of parents that only this node keeps alive must not be dropped recursively.
        let mut parent = self.parent.take();
        while let Some((token, key)) = parent.take() {
            {
                let mut children = token.node.children.lock();
                // If the list was taken, it is empty now, or has new children, which were born into
                // a cancelled parent: their references were upgraded above or are dead.
                let dead = children
                    .get(key)
                    .is_some_and(|child| child.strong_count() == 0);
                if dead {
                    children.remove(key);
                }
            }
            parent = Arc::into_inner(token.node).and_then(|mut node| node.parent.take());
        }
    }
}

/// Waits until a token is cancelled: from [`CancelToken::cancelled`]. Async code awaits it, other
/// code joins it.
///
/// ```
/// use trefoil::{CancelToken, ThreadPool};
///
/// let (pool, token) = (ThreadPool::with_threads(1), CancelToken::new());
/// let waiter = pool.spawn({
///     let token = token.clone();
///     move || token.cancelled().join()
/// });
/// token.cancel();
/// assert!(waiter.join().is_ok());
/// ```
#[derive(Debug)]
#[must_use = "it waits only when awaited, or by `join()`"]
pub struct Cancelled {
    token: CancelToken,
    alarm: Option<Alarm>,
    /// The key under which this waiter's waker is registered.
    key: Option<u64>,
}

impl Cancelled {
    /// Blocks until the token is cancelled. On an event-loop thread it never blocks.
    ///
    /// # Errors
    /// [`TaskError::WouldBlock`] on an event-loop thread, if the token is
    /// not cancelled.
    pub fn join(self) -> Result<(), TaskError> {
        block_on(self).ok_or(TaskError::WouldBlock)
    }
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.token.check().is_err() {
            return Poll::Ready(());
        }
        this.token.node.waiters.register(&mut this.key, cx.waker());
        // The waker is registered first, and then the flag is checked: a cancellation after the
        // check finds the waker.
        if this.token.node.cancelled.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        match &mut this.alarm {
            Some(alarm) => alarm.poll_elapsed(cx).map(|()| this.token.cancel()),
            None => Poll::Pending,
        }
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.token.node.waiters.unregister(self.key);
    }
}
