//! Which task runs here, for its own code.
//!
//! Tests: `tests/task/handle.rs`.

use super::id::TaskId;
use super::raw::entered_task;

/// The id of the task whose code calls this: that of the [`Task`](crate::Task) that was returned to
/// the code that started it. (The calls of a `spawn_broadcast` and the items of an `imap` have ids
/// of their own.)
///
/// A task is a future on a loop, a pool or in a group, a closure of a pool (each call of a
/// `spawn_broadcast`, each item of an `imap`), or a call in a worker process (there the id is one
/// of that process, not the caller's). Its destructors are code of the task, also when it is
/// cancelled. The halves of a `join`, the items of a `map`, the tasks of a `scope` and what
/// `install` and `broadcast` call are parts of the task that called these. The future that was
/// passed to [`run`](crate::run()) or `block_on` is none.
///
/// # Panics
/// Outside a task; see [`try_id`].
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let task = pool.spawn(trefoil::task::id);
/// let id = task.id();
/// assert_eq!(task.join().unwrap(), id);
/// ```
#[must_use]
#[track_caller]
pub fn id() -> TaskId {
    try_id().expect(
        "trefoil::task::id() needs a task: call it inside a spawned task (the future of run(..) or \
         block_on(..) is not one), or use try_id()",
    )
}

/// The id of the task whose code calls this, if a task's code does; see [`id`].
///
/// ```
/// use trefoil::task;
///
/// assert_eq!(task::try_id(), None);
/// trefoil::run(async {
///     assert_eq!(task::try_id(), None);
///     let spawned = trefoil::spawn(async { task::try_id() });
///     let id = spawned.id();
///     assert_eq!(spawned.await.unwrap(), Some(id));
/// });
/// ```
#[must_use]
pub fn try_id() -> Option<TaskId> {
    entered_task::id()
}
