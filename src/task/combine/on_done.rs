//! A callback as a consumer: a waker that takes the result and calls a closure.
//!
//! The callback owns the handle, and is in the slot of the task that the handle belongs to. The
//! task's end breaks this cycle, and every task ends. The code that empties the slot runs the
//! callback: the waker, or `on_done` if the task has ended meanwhile. A lock decides, so the
//! callback runs once.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::loom::Mutex;
use crate::task::error::TaskError;
use crate::task::nested;
use crate::task::raw::Task;

/// The closure with its handle. `None`: it was called.
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
    /// Calls `f` with the result when the task ends: on the thread that ends it, or at once if it
    /// has ended. `f` must be short. If it panics, the panic hook reports that, and the panic is
    /// caught.
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
        // The callback is registered first, and then the task is checked: an end after the check
        // finds the callback.
        if !registered || cell.is_finished() {
            callback.fire();
        }
    }
}
