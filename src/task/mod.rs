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
//!        ├─ join_all, race, wait, …     │    Completer  a promise to be kept:
//!        └─ timeout                     │               a reply, a callback
//!                                       │
//!                     one cell: state, consumer slot, work or output
//! ```
//!
//! **Reading order.** [`state`](self) (private): every atomic transition, with the invariants
//! T1 to T5. `raw`: the cell, with T6 and the following, the only unsafe code. Then what
//! executors use (`raw/queued.rs`, `completer`), what callers use (`handle`,
//! `combine`, `group`), and what both share (`error`, `panic`, `context`,
//! `id`, `shutdown`).
//!
//! **Promised.** The end of a task is visible only after its work has been
//! dropped. A future that is not `Send` is polled and dropped on its loop's thread only,
//! whoever cancels it or drops its handle. A task whose producer goes away ends in `Closed`. No
//! panic of user code crosses from one side to the other except as a value.
//!
//! Tests: `checks/tests/models.rs` (loom), `tests/task/handle.rs`, `benches/benches/cell.rs`.

#![cfg_attr(loom, allow(dead_code, unused_imports))] // most executors are absent then

pub(crate) mod awaited;
mod cancel_token;
mod combine;
mod completer;
pub(crate) mod context;
mod error;
mod group;
mod handle;
mod id;
mod inbox;
mod nested;
pub(crate) mod panic;
mod raw;
mod shutdown;
mod side;
mod state;
#[cfg_attr(not(feature = "tracing"), path = "untraced.rs")]
mod traced;
mod unobserved;
mod waiters;

pub use cancel_token::{CancelToken, Cancelled};
pub use combine::{
    AsCompleted, AsCompletedIter, JoinAll, Race, SharedTask, Timeout, TryJoinAll, Until, Wait,
    as_completed, join_all, race, timeout, try_join_all, wait,
};
pub use error::{CodecError, TaskError, WorkerExit};
pub use group::{GroupError, GroupHandle, GroupJoin, GroupNext, TaskGroup};
pub use handle::CancelOnDrop;
pub use id::TaskId;
pub use panic::{Panic, PanicLocation};
pub use raw::{Completer, Task};
pub use shutdown::Shutdown;
pub use unobserved::{TaskReport, on_unobserved};

pub(crate) use error::CodecDirection;
pub(crate) use handle::cancel_all;
#[cfg(loom)]
pub(crate) use inbox::fault as inbox_fault;
pub(crate) use inbox::{Inbox, Sleep};
pub(crate) use raw::cell::{closure, future, local_future, promise};
pub(crate) use raw::{OnCancel, Origin, Ran, Runnable, Schedule, TaskRef};
pub(crate) use unobserved::Hook;

/// What the models in `checks/` and the benchmarks of the cell drive: the
/// executor's side, which users never see.
#[cfg(any(loom, feature = "__bench"))]
#[doc(hidden)]
#[path = "../../checks/inside/task_model.rs"]
pub mod model;
