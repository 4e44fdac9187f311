//! A callback as a consumer: a waker that takes the result and calls a closure.
//!
//! The callback owns the handle, and sits in the slot of the task that the handle
//! belongs to: a cycle that the task's end breaks, and every task ends. It is
//! run by the caller that empties it: the waker, or `on_done` if the task
//! ended while it was being armed. A lock decides, so it runs once.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::loom::Mutex;
use crate::task::error::TaskError;
use crate::task::nested;
use crate::task::raw::Task;

/// What takes the result and calls the closure, once it is armed.
struct Callback(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Callback {
    fn fire(&self) {
        let armed = self.0.lock().take();
        if let Some(call) = armed {
            nested::run(call);
        }
    }
}

impl Wake for Callback {
    fn wake(self: Arc<Self>) {
        self.fire();
    }
}

impl<T> Task<T> {
    /// Calls `f` with the result when the task ends: on the thread that ends it,
    /// or here and now if it has ended. `f` must be short; a panic in it is shown by the
    /// panic hook and goes no further.
    ///
    /// ```
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// pool.spawn(|| 6 * 7).on_done(move |result| tell.send(result.unwrap()).unwrap());
    /// assert_eq!(told.recv().unwrap(), 42);
    /// ```
    pub fn on_done(self, f: impl FnOnce(Result<T, TaskError>) + Send + 'static)
    where
        T: Send + 'static,
    {
        let mut task = self;
        let cell = task.task_ref();
        let callback = Arc::new(Callback(Mutex::new(None)));
        let registered = task.register(Waker::from(callback.clone()));
        *callback.0.lock() = Some(Box::new(move || {
            if let Some(result) = task.try_join() {
                drop(task);
                f(result);
            }
        }));
        // Armed, then looked: an end after the look finds it armed.
        if !registered || cell.is_finished() {
            callback.fire();
        }
    }
}
