//! What a group takes: a task, or what has one.
//!
//! No future that is not running: a group may be given to another thread and is polled by whoever waits for it, so it
//! could take only futures that are `Send` and borrow nothing, and would then ask that of tasks, too (`docs/DESIGN.md`).

use super::raw::Task;

/// What can be added to a [`TaskGroup`](crate::TaskGroup): a [`Task`], or what has one, as a [`Process`](crate::Process).
///
/// A future that nothing runs is none, and the compiler says what to write:
///
/// ```compile_fail,E0277
/// let group = trefoil::TaskGroup::new();
/// group.add(async { Ok(7) });
/// ```
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let mut group = trefoil::TaskGroup::new();
/// group.add(pool.spawn_async(async { 7 })); // on a loop: `trefoil::spawn(async { 7 })`
/// assert_eq!(group.join_all().wait().unwrap(), [7]);
/// ```
#[diagnostic::on_unimplemented(
    message = "a group takes tasks, and `{Self}` is none",
    label = "this is not a task",
    note = "start the future, and add its task: `group.add(trefoil::spawn(future))` on an event loop, \
            `group.add(pool.spawn_async(future))` on a thread pool"
)]
pub trait IntoTask {
    /// What the task gives.
    type Value;

    /// The task.
    fn into_task(self) -> Task<Self::Value>;
}

impl<T> IntoTask for Task<T> {
    type Value = T;

    fn into_task(self) -> Self {
        self
    }
}
