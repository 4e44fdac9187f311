//! The stem: the one [`Task`] that all executors return.
//!
//! **Job.** Whatever starts work makes a *cell*: one allocation that holds the
//! work and later its output. Around it there are two sides:
//!
//! ```text
//!      the caller's side                     the producer's side
//!
//!      Task<T>  await · join · cancel   │    Runnable   a closure or a future in an
//!        │                              │               executor's queue
//!        ├─ join_all, race, wait, …     │    Completer  a promise that somebody keeps:
//!        └─ timeout                     │               a reply, a callback
//!                                       │
//!                     one cell: state, consumer slot, work or output
//! ```
//!
//! **Reading order.** [`state`](self) (private): every atomic transition, with the invariants
//! T1 to T5. `raw`: the cell, with T6 to T15, the only unsafe code. Then what
//! executors use (`raw/queued.rs`, `completer`), what callers use (`handle`,
//! `on_done`, the combinators), and what both share (`error`, `panic`, `context`,
//! `id`, `shutdown`).
//!
//! **Promised.** The end of a task is visible only after its work has been
//! dropped. A future that is not `Send` is polled and dropped on its loop's thread only,
//! whoever cancels it or drops its handle. A task whose producer goes away ends in `Closed`. No
//! panic of user code crosses from one side to the other except as a value.
//!
//! Tests: `checks/tests/models.rs` (loom), `tests/task/handle.rs`, `benches/benches/cell.rs`.

#![cfg_attr(loom, allow(dead_code, unused_imports))] // most executors are absent then

mod as_completed;
pub(crate) mod awaited;
mod cancel_token;
mod completer;
pub(crate) mod context;
mod error;
mod group;
mod handle;
mod id;
mod join_all;
mod map;
mod nested;
mod on_done;
pub(crate) mod panic;
mod race;
mod raw;
mod shared_task;
mod shutdown;
mod state;
mod timeout;
#[cfg_attr(not(feature = "tracing"), path = "untraced.rs")]
mod traced;
mod try_join_all;
mod unobserved;
mod wait;
mod waiters;

pub use as_completed::{AsCompleted, AsCompletedIter, as_completed};
pub use cancel_token::{CancelToken, Cancelled};
pub use completer::Completer;
pub use error::{CodecError, TaskError, WorkerExit};
pub use group::{GroupError, GroupHandle, GroupJoin, GroupNext, TaskGroup};
pub use handle::{CancelOnDrop, Task};
pub use id::TaskId;
pub use join_all::{JoinAll, join_all};
pub use panic::{Panic, PanicLocation};
pub use race::{Race, race};
pub use shared_task::SharedTask;
pub use shutdown::Shutdown;
pub use timeout::{Timeout, timeout};
pub use try_join_all::{TryJoinAll, try_join_all};
pub use unobserved::{TaskReport, on_unobserved};
pub use wait::{Until, Wait, wait};

pub(crate) use completer::promise;
pub(crate) use error::CodecDirection;
pub(crate) use handle::cancel_all;
pub(crate) use raw::cell::{closure, future, local_future};
#[cfg(loom)]
pub(crate) use raw::inbox_fault;
pub(crate) use raw::{
    Brought, Drain, Inbox, OnCancel, Origin, Pushed, Queued, Ran, Runnable, Schedule, Sleep,
    TaskRef,
};
pub(crate) use unobserved::Hook;

/// What the models in `checks/` and the benchmarks of the cell drive: the
/// executor's side, which users never see.
#[cfg(any(loom, feature = "__bench"))]
#[doc(hidden)]
#[path = "../../checks/inside/task_model.rs"]
pub mod model;
