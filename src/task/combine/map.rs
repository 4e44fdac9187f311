//! A task of another type: the same work, its value changed on arrival.
//!
//! It is a promise that the first task's callback keeps. Cancelling the promise cancels the first
//! task. The link to the first task is dropped when the callback runs, so that a long chain is not
//! freed by recursion. `CancelSource` keeps only whether an executor was to keep the promise in the
//! end: in a forked child none does.

use crate::large::is_large;
use crate::loom::Mutex;
use crate::task::error::TaskError;
use crate::task::id::TaskId;
use crate::task::panic::{catch, contain};
use crate::task::raw::cell::promise;
use crate::task::raw::{Origin, PromiseSource, Task, TaskRef};
use crate::task::trampoline;

/// Passes a cancellation on to the first task.
struct CancelSource {
    source: Mutex<Option<TaskRef>>,
    /// Whether an executor runs the first task.
    executors: bool,
}

impl PromiseSource for CancelSource {
    fn on_cancel(&self, _: TaskId) -> Option<TaskRef> {
        self.source.lock().take()
    }

    fn origin(&self) -> Origin {
        match &*self.source.lock() {
            Some(source) => Origin::Task(source.clone()),
            None => Origin::Completer,
        }
    }

    fn is_executors(&self) -> bool {
        self.executors
    }

    fn let_go(&self) {
        let source = self.source.lock().take();
        drop(source);
    }
}

impl<T> Task<T> {
    /// Changes the value of the work by `f`. Like [`on_done`](Task::on_done)'s callback, `f` runs
    /// on the thread that ends this task, and even if the new task is detached. A panic in `f` is
    /// the new task's; a failure passes through; cancelling the new task cancels this one. (If that
    /// has a value all the same, as a closure that runs, `f` gets it.) The new task has this one's
    /// name. If its failure is never taken, the hook of this one's executor is called.
    ///
    /// ```
    /// let pool = trefoil::ThreadPool::with_threads(1);
    /// let texts = [pool.spawn(|| 6 * 7).map(|n| n.to_string()), pool.spawn(|| "plain".to_owned())];
    /// assert_eq!(trefoil::try_join_all(texts).join().unwrap(), ["42", "plain"]);
    /// ```
    #[track_caller]
    pub fn map<U: Send + 'static>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Task<U>
    where
        T: Send + 'static,
    {
        self.mapped(f)
    }

    #[track_caller]
    fn mapped<U: Send + 'static, F: FnOnce(T) -> U + Send + 'static>(self, f: F) -> Task<U>
    where
        T: Send + 'static,
    {
        if const { is_large::<F>() } {
            let f: Box<dyn FnOnce(T) -> U + Send> = Box::new(f);
            return self.mapped(f);
        }
        if const { is_large::<U>() } {
            return self.and_then(|value| Ok(Box::new(f(value)))).unboxed();
        }
        self.and_then(|value| Ok(f(value)))
    }

    /// Like [`map`](Task::map), for an `f` that may fail.
    #[track_caller]
    pub(super) fn and_then<U: Send + 'static>(
        self,
        f: impl FnOnce(T) -> Result<U, TaskError> + Send + 'static,
    ) -> Task<U>
    where
        T: Send + 'static,
    {
        let tied = self.is_tied();
        let source = self.task_ref();
        let hook = source.report_hook();
        let (completer, mut mapped) = promise(CancelSource {
            executors: source.is_executors(),
            source: Mutex::new(Some(source)),
        });
        if let Some(name) = self.name() {
            mapped = mapped.named(name);
        }
        if let Some(hook) = hook {
            completer.set_hook(&hook);
        }
        self.on_done(move |result| {
            completer.let_go();
            let mapped = match result {
                Ok(value) => catch(|| f(value)).unwrap_or_else(|panic| Err(panic.into())),
                Err(error) => {
                    contain(|| drop(f));
                    Err(error)
                }
            };
            trampoline::last(completer.id(), || completer.complete(mapped));
        });
        mapped.tie(tied);
        mapped
    }
}
