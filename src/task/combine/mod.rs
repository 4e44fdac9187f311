//! Functions over tasks of any executors: wait for all of a list, for the first or for some; with a
//! time limit; map or share a result. Those that wait for all or for the first also take other
//! futures.
//!
//! A task's cell has one consumer. So each of these functions is that consumer: with the waker that
//! it is polled with (`join_all`, `race`), with one of a ready queue (`try_join_all`,
//! `as_completed`, `wait`), or with a waker of its own (`on_done`, `map`, `shared_task`).

mod as_completed;
mod as_completed_keyed;
mod join;
mod join_all;
mod map;
mod next;
mod on_done;
mod race;
mod select;
mod shared_task;
mod timeout;
mod together;
mod try_join_all;
mod wait;

pub use as_completed::{AsCompleted, AsCompletedIter, as_completed};
pub use as_completed_keyed::{AsCompletedKeyed, AsCompletedKeyedIter, as_completed_keyed};
#[doc(hidden)]
pub use join::Joining;
pub use join_all::{JoinAll, join_all};
pub(crate) use next::next;
pub use race::{Race, race};
pub use shared_task::SharedTask;
pub use timeout::{Timeout, timeout};
pub use try_join_all::{TryJoinAll, try_join_all};
pub use wait::{Until, Wait, wait};
