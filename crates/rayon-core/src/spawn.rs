//! Work that nobody waits for.
//!
//! **First in, first out.** The pool runs the newest of a thread's tasks first. So `spawn_fifo`
//! puts the closure at the end of a line that the thread has, and spawns a task that takes
//! whichever is first in that line.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::here;
use crate::pool::Pool;

type Task = Box<dyn FnOnce() + Send>;

/// Closures in the order in which they are to run.
pub(crate) struct Line<T>(Mutex<VecDeque<T>>);

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Line<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, last: T) {
        self.lock().push_back(last);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.lock().pop_front()
    }
}

thread_local! {
    static LINE: Arc<Line<Task>> = Arc::default();
}

/// Queues `func`; the newest that a thread has spawned runs first there.
///
/// A panic goes to the pool's handler; without one, the process aborts.
pub fn spawn<F>(func: F)
where
    F: FnOnce() + Send + 'static,
{
    here::pool().spawn(func);
}

/// Queues `func`; the oldest that a thread has spawned in this manner runs first there. Otherwise
/// as [`spawn`].
pub fn spawn_fifo<F>(func: F)
where
    F: FnOnce() + Send + 'static,
{
    spawn_fifo_in(here::pool(), func);
}

pub(crate) fn spawn_fifo_in<F>(pool: Pool, func: F)
where
    F: FnOnce() + Send + 'static,
{
    let line = match trefoil::thread::current() {
        // What comes from outside runs in its order as it is.
        None => return pool.spawn(func),
        Some(_) => LINE.with(Arc::clone),
    };
    line.push(Box::new(func));
    pool.spawn(move || {
        if let Some(first) = line.pop() {
            first();
        }
    });
}
