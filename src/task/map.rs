//! A task of another type: the same work, its value changed on arrival.
//!
//! A promise that the first task's callback keeps. Cancelling it cancels the first. Its link to
//! the first goes when the callback runs, so that a long chain is not freed by recursion. What stays is whether an
//! executor was to keep the promise in the end: in a forked child nobody does.

use super::completer::{OnCancel, Origin, promise};
use super::panic::catch;
use super::runnable::TaskRef;
use super::{Task, TaskError, TaskId, nested};
use crate::loom::Mutex;

/// Passes a cancellation on to the task that the value was to come from.
struct CancelSource {
    source: Mutex<Option<TaskRef>>,
    /// That task is an executor's.
    executors: bool,
}

impl OnCancel for CancelSource {
    fn on_cancel(&self, _: TaskId) {
        let source = self.source.lock().take();
        if let Some(source) = source {
            nested::run(move || {
                source.cancel();
            });
        }
    }

    fn origin(&self) -> Origin {
        match &*self.source.lock() {
            Some(source) => Origin::Task(source.clone()),
            None => Origin::Anybody,
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

#[track_caller]
pub(super) fn map<T, U, F>(task: Task<T>, f: F) -> Task<U>
where
    T: Send + 'static,
    U: Send + 'static,
    F: FnOnce(T) -> U + Send + 'static,
{
    let source = task.task_ref();
    let (completer, mut mapped) = promise(CancelSource {
        executors: source.is_executors(),
        source: Mutex::new(Some(source)),
    });
    if let Some(name) = task.name() {
        mapped = mapped.named(name);
    }
    if let Some(hook) = task.hook() {
        completer.set_hook(&hook);
    }
    task.on_done(move |result| {
        completer.let_go();
        completer.complete(result.and_then(|value| catch(|| f(value)).map_err(TaskError::from)));
    });
    mapped
}
