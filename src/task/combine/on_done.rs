//! On which thread the callback of a task runs.
//!
//! It is a consumer: a waker that takes the result and calls a closure. The callback owns the
//! handle, and is in the slot of the task that the handle belongs to. The task's end breaks this
//! cycle, and every task ends. The code that empties the slot runs the callback: the waker, or
//! `on_done` if the task has ended meanwhile. A lock decides, so the callback runs once.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::large::{is_large, unboxed};
use crate::loom::Mutex;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::raw::Task;
use crate::task::trampoline::{self, Callback};

struct CallbackWaker {
    task: TaskId,
    /// The closure with its handle. `None`: it was called.
    armed: Mutex<Option<Callback>>,
}

impl CallbackWaker {
    fn take(&self) -> Option<Callback> {
        self.armed.lock().take()
    }
}

impl Wake for CallbackWaker {
    fn wake(self: Arc<Self>) {
        if let Some(call) = self.take() {
            trampoline::woken(self.task, call);
        }
    }
}

impl<T> Task<T> {
    /// Calls `f` with the result when the task ends: on the thread that ends it, or at once if it
    /// has ended. `f` must be short. If it panics, the panic hook reports that, and the panic is
    /// caught.
    ///
    /// If `f` ends a task that has a callback, too, that one is called inside `f`, and so on. Once
    /// such callbacks have used half of the stack, the next one is called on a helper thread.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// pool.spawn(|| 6 * 7).on_done(move |result| sender.send(result.unwrap()).unwrap());
    /// assert_eq!(receiver.recv().unwrap(), 42);
    /// ```
    pub fn on_done(self, f: impl FnOnce(Result<T, TaskError>) + Send + 'static)
    where
        T: Send + 'static,
    {
        let mut task = self;
        let cell = task.task_ref();
        let callback = Arc::new(CallbackWaker {
            task: task.id(),
            armed: Mutex::new(None),
        });
        let registered = task.register(Waker::from(callback.clone()));
        *callback.armed.lock() = Some(Box::new(move || {
            if const { is_large::<T>() } {
                if let Some(stored) = task.as_boxed().take_stored() {
                    drop(task);
                    f(unboxed(stored));
                }
            } else if let Some(result) = task.take_stored() {
                drop(task);
                f(result);
            }
        }));
        // The callback is registered first, and then the task is checked: an end after the check
        // finds the callback.
        if (!registered || cell.is_finished())
            && let Some(call) = callback.take()
        {
            trampoline::run(call);
        }
    }
}
