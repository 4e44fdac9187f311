//! Functions over tasks, whatever executors they are of: all of a list, the first, some of them; in
//! time, mapped, shared. And over other futures, for those that wait for all or for the first.
//!
//! The stem's cell has one consumer. So each of these is that consumer: by the waker that it is
//! polled with (`join_all`, `race`), by one of a ready queue (`try_join_all`, `as_completed`,
//! `wait`), or by one of its own (`on_done`, `map`, `shared_task`).

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
