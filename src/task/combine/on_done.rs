//! A callback as a consumer: a waker that takes the result and calls a closure.
//!
//! The callback owns the handle, and sits in the slot of the task that the handle
//! belongs to: a cycle that the task's end breaks, and every task ends. It is
//! run by the caller that empties [`Callback::armed`]: the waker, or `register` if the task
//! ended while it was being armed. A lock decides, so it runs once.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::loom::Mutex;
use crate::task::error::TaskError;
use crate::task::nested;
use crate::task::raw::Task;

struct Callback<T, F> {
    armed: Mutex<Option<(Task<T>, F)>>,
}

impl<T, F> Callback<T, F>
where
    T: Send + 'static,
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
{
    fn fire(&self) {
        let armed = self.armed.lock().take();
        if let Some((mut task, f)) = armed
            && let Some(result) = task.try_join()
        {
            drop(task);
            nested::run(move || f(result));
        }
    }
}

impl<T, F> Wake for Callback<T, F>
where
    T: Send + 'static,
    F: FnOnce(Result<T, TaskError>) + Send + 'static,
{
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
        let callback = Arc::new(Callback {
            armed: Mutex::new(None),
        });
        let registered = task.register(Waker::from(callback.clone()));
        let ended_meanwhile = {
            let mut armed = callback.armed.lock();
            let (task, _) = armed.insert((task, f));
            !registered || task.is_finished()
        };
        // Armed, then looked: an end after the look finds it armed.
        if ended_meanwhile {
            callback.fire();
        }
    }
}
