//! The [`Task`] that all executors share, and what can be done with many tasks.
//!
//! The `spawn` of a pool, of a call to a worker process and of an event loop
//! ([`spawn`](crate::spawn())) returns a `Task<T>` at once. Async code awaits it, on any runtime;
//! other code calls [`join`](Task::join). Both give a `Result<T, TaskError>`, and [`TaskError`] has
//! every way in which a task can fail.
//!
//! ```
//! use trefoil::{Completer, ThreadPool, join_all};
//!
//! let pool = ThreadPool::with_threads(2);
//! let (completer, promised) = Completer::new();
//! let tasks = [pool.spawn(|| 1), pool.spawn(|| 2), promised];
//! completer.complete(Ok(3)); // from wherever the third result comes: a callback, a reply
//! let results = join_all(tasks).join(); // in async code: `.await`
//! let sum: i32 = results.into_iter().sum::<Result<i32, _>>()?;
//! assert_eq!(sum, 6);
//! # Ok::<_, trefoil::TaskError>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | wait for one task | `.await`, [`Task::join`], [`Task::join_timeout`], [`timeout`] |
//! | wait for many | [`join_all`], [`try_join_all`], [`as_completed`], [`as_completed_keyed`], [`wait`] |
//! | take the first result, and cancel the others | [`race`] |
//! | wait for futures that are not tasks | [`timeout`], [`join!`](crate::join!), [`select!`](crate::select!), or spawn them |
//! | start many, and lose none | [`TaskGroup`] |
//! | stop work | [`Task::cancel`], [`Task::abort_handle`], [`Task::cancel_on_drop`], [`CancelToken`] |
//! | give one result to many | [`Task::shared`] |
//! | make a task of a callback | [`Completer`] |
//! | have a value in all of a task's code | [`task_local!`](crate::task_local) |
//! | learn of failures that nobody looked at | [`on_unobserved`] |
//!
//! # Promised
//!
//! - Once a task's end is visible, its closure or future has been dropped. (One of
//!   [`map`](Task::map) or [`flatten`](Task::flatten) that is cancelled ends at once, and what runs
//!   goes on, as calls of a cancelled `spawn_broadcast` do.)
//! - A future that is not `Send` is polled and dropped on its loop's thread only, whichever thread
//!   cancels it or drops its handle.
//! - A task that is spawned on an executor that has ended ends in [`Closed`](TaskError::Closed).
//! - A panic in a task's code is that task's error, [`Panicked`](TaskError::Panicked); its executor
//!   continues.
//!
//! # Read next
//!
//! [`Task`] and [`TaskError`] describe one task, [`TaskGroup`] many that belong together. Tasks are
//! started by [`ThreadPool`](crate::ThreadPool), [`ProcessPool`](crate::ProcessPool),
//! [`EventLoop`](crate::EventLoop).

// For work on this module: `README.md` next to this file follows one task. Every call that starts
// work makes a *cell*: one allocation that holds the work and later its output. It has two sides:
//
//      the caller's side                     the producer's side
//
//      Task<T>  await · join · cancel   │    Runnable   a closure or a future in an
//        │                              │               executor's queue
//        ├─ join_all, race, wait, …     │    Completer  a promise to be kept:
//        └─ timeout                     │               a reply, a callback
//                                       │
//                     one cell: state, consumer slot, work or output
//
// Reading order: `state`, every atomic transition, with the invariants T1 to T5. `raw`: the cell,
// with T6 and the following, the only unsafe code. Then the executors' side (`raw/queued.rs`,
// `completer`), the callers' side (`handle`, `combine`, `group`), and the shared part (`error`,
// `panic`, `context`, `id`, `shutdown`).
//
// Tests: `tests/trefoil-checks/tests/models.rs::{complete_vs_join, run_vs_cancel}` (loom),
// `tests/task/handle.rs`, `benches/benches/cell.rs`.

#![cfg_attr(loom, allow(dead_code, unused_imports))] // under loom most executors are absent

pub(crate) mod awaited;
#[cfg(feature = "backtrace")]
pub(crate) mod backtrace;
mod cancel_token;
mod combine;
mod completer;
pub(crate) mod context;
mod current;
mod error;
mod extras;
mod failed_item;
mod failure;
#[cfg(feature = "backtrace")]
mod frame_names;
mod group;
mod group_futures;
pub(crate) mod handle;
mod id;
mod inbox;
mod late;
mod outcome;
pub(crate) mod panic;
mod raw;
mod shutdown;
mod state;
mod task_local;
#[cfg(feature = "tracing")]
mod traced;
#[cfg(not(feature = "tracing"))]
#[path = "untraced.rs"]
mod traced;
mod trampoline;
mod unobserved;

pub use cancel_token::Cancelled;
pub use combine::{
    AsCompleted, AsCompletedIter, AsCompletedKeyed, AsCompletedKeyedIter, IntoTask, JoinAll, Race,
    Step, Timeout, TryJoinAll, Wait,
};
pub use current::{id, try_id};
pub use group::{GroupJoin, GroupNext};
pub use task_local::{AccessError, LocalKey};
/// The names that the crate's root re-exports. (Their paths through this module compile, too, but
/// are not documented.)
pub(crate) mod root {
    pub use super::cancel_token::CancelToken;
    pub use super::combine::{
        SharedTask, StepExt, Until, as_completed, as_completed_keyed, join_all, race, timeout,
        try_join_all, wait,
    };
    pub use super::error::{CodecError, TaskError, WorkerExit};
    pub use super::failure::Failure;
    pub use super::group::{GroupError, GroupHandle, TaskGroup};
    pub use super::handle::{AbortHandle, CancelOnDrop};
    pub use super::id::TaskId;
    pub use super::late::Late;
    pub use super::panic::{Panic, PanicLocation};
    pub use super::raw::{Completer, Task};
    pub use super::shutdown::Shutdown;
    pub use super::unobserved::{TaskReport, on_unobserved};
}
#[doc(hidden)]
pub use root::*;
#[doc(hidden)]
pub use {combine::Joining, task_local::LocalSlot};

pub(crate) use combine::next;
pub(crate) use error::{Cause, CodecDirection};
pub(crate) use handle::{cancel_all, cancel_each};
#[cfg(loom)]
pub(crate) use inbox::fault as inbox_fault;
pub(crate) use inbox::{Inbox, SleepPlace};
pub(crate) use raw::cell::{Newborn, closure, promise};
pub(crate) use raw::{Origin, PromiseSource, Ran, Runnable, Schedule, TaskRef};
pub(crate) use unobserved::Hook;
#[cfg(feature = "event-loop")]
pub(crate) use unobserved::notice;

/// The executor's side, which users never see, for the models in `tests/trefoil-checks/` and the
/// benchmarks of the cell.
#[cfg(any(loom, feature = "__bench"))]
#[doc(hidden)]
pub mod model;
