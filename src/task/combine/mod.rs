//! Functions over tasks of any executors: wait for all of a list, for the first or for some; with a
//! time limit; map or share a result.
//!
//! A task's cell has one consumer. So each of these functions is that consumer: with the waker that
//! it is polled with (`join_all`, `race`), with one of a ready queue (`try_join_all`,
//! `as_completed`, `wait`), or with a waker of its own (`on_done`, `map`, `shared_task`).

mod as_completed;
mod as_completed_keyed;
mod flatten;
mod into_task;
mod join;
mod join_all;
mod map;
mod next;
mod on_done;
mod race;
mod select;
mod shared_task;
mod step;
mod timeout;
mod try_join_all;
mod wait;

pub use as_completed::{AsCompleted, AsCompletedIter, as_completed};
pub use as_completed_keyed::{AsCompletedKeyed, AsCompletedKeyedIter, as_completed_keyed};
pub use into_task::IntoTask;
#[doc(hidden)]
pub use join::Joining;
pub use join_all::{JoinAll, join_all};
pub(crate) use next::next;
pub use race::{Race, race};
pub use shared_task::SharedTask;
pub use step::{Step, StepExt};
pub use timeout::{Timeout, timeout};
pub use try_join_all::{TryJoinAll, try_join_all};
pub use wait::{Until, Wait, wait};

use crate::task::error::TaskError;
use crate::task::raw::Task;

/// The tasks of a list.
fn into_tasks<T>(tasks: impl IntoIterator<Item: IntoTask<T>>) -> Vec<Task<T>> {
    tasks.into_iter().map(Into::into).collect()
}

/// The results of tasks that have all ended.
fn results<T>(ended: Vec<Task<T>>) -> impl Iterator<Item = Result<T, TaskError>> {
    ended.into_iter().map(Task::join)
}

/// Whether each of the `left` tasks that have not ended can only run on this thread.
pub(in crate::task) fn are_stuck<'a, T: 'a>(
    tasks: impl Iterator<Item = &'a Task<T>>,
    left: usize,
) -> bool {
    let needs_us = |task: &&'a Task<T>| !task.is_finished() && task.cell().needs_this_thread();
    tasks.filter(needs_us).count() == left
}
