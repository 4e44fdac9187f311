//! The event loop: one thread, many tasks that mostly wait.
//!
//! [`run`] is the usual way in: it makes a loop, runs one future to its end, and cancels the tasks
//! that the future has started and not finished. Inside, [`spawn`] starts tasks that run
//! concurrently on the same thread. [`crate::time`] has timers, [`crate::io`] sockets, files and
//! processes. From other threads, a [`LoopHandle`] starts tasks here.
//!
//! Use it for many jobs that wait: connections, timers, child processes, responses. A waiting
//! task takes about a hundred bytes and what its future holds; a thread takes a stack.
//!
//! ```
//! use std::rc::Rc;
//! use std::time::Duration;
//! use trefoil::{spawn, time};
//!
//! let lengths = trefoil::run(async {
//!     let text = Rc::new(String::from("shared by all tasks")); // one thread: no `Arc`
//!     let tasks = (0..3).map(|n| {
//!         let text = text.clone();
//!         spawn(async move {
//!             time::sleep(Duration::from_millis(n)).await; // the others run meanwhile
//!             text.len()
//!         })
//!     });
//!     trefoil::try_join_all(tasks).await
//! })?;
//! assert_eq!(lengths, [19, 19, 19]);
//! # Ok::<_, trefoil::TaskError>(())
//! ```
//!
//! [`EventLoop::builder`] has options: a virtual clock, for tests, and a hook for tasks that
//! compute for too long. Run computations on a pool: a loop awaits a pool's task like its own.
//!
//! # Promised
//!
//! - Tasks run in the order in which the loop learns that they are ready.
//! - No socket, pipe, signal or interval that is always ready keeps the loop from other tasks, or
//!   one part of a task (of a `join!`, a `select!`) from the others. In one poll of a task each
//!   direction of a socket, each signal and each interval completes 128 operations without a wait,
//!   and after 512 in all only its first; then it is pending, and the task is polled again in the
//!   next turn. (Empty reads and writes are not counted, nor are intervals that are made anew each
//!   time.)
//! - A sleeping task is not woken early; an idle loop makes no system call.
//! - A wake-up or a spawn from another thread holds a lock for a few instructions, and wakes the
//!   thread only if the loop is asleep.
//! - A future that is not `Send` is polled and dropped on the loop's thread.
//! - A panic ends the task that panicked, nothing else.
//! - When the loop ends, every task on it has ended.
//!
//! # Read next
//!
//! [`io`](crate::io) and [`time`](crate::time) have sockets, files and timers, and
//! [`sync`](crate::sync) locks and channels. The [guide](crate::_documentation::guide) has a server.
//! If you know tokio, read [this page](crate::_documentation::from_tokio).

// For work on this module: `README.md` next to this file follows one turn. Tests:
// `tests/event_loop/running.rs::tasks_run_in_the_order_in_which_they_became_ready`,
// `tests/event_loop/threads.rs::no_spawn_from_eight_threads_is_lost`,
// `tests/trefoil-checks/tests/loop_models.rs`.
//
//   other threads                      │   the loop's thread
//                                      │
//   LoopHandle ┐                       │        ┌──▶ root future, ready tasks
//   Waker ─────┼─▶ inbox ──────────────┼────────┤              │
//   dropped ───┴─▶ notes ──────────────┼────────┤              ▼
//   source, timer                      │        ├── timers ◀── sleep, timeout
//                     (shared)         │        └── reactor ◀─ sockets   (local)
//
// `builder` has the types that users make and run; `turn` is the loop itself, and `time_slice`
// decides how long it runs before it asks the kernel, and `operation_budget` how much one task may
// do in one poll. `local` is the part that only its thread uses, `shared` the part for other
// threads: they pass work and wake the loop, through the task inbox. `entered_loop` has the loop of
// this thread, `routing` chooses between `local` and `shared`. `task_table` has the loop's tasks,
// and `slow_poll` watches their polls; `stats` has numbers for other threads. `reactor` and
// `source_waiters` turn readiness into wake-ups; `virtual_clock` decides when such a clock jumps.
// The inbox and the flags next to it are the only atomic protocol here, and have a model. There is
// no unsafe code.
//
// Rejected:
//
// - The executor as a future that any runtime may poll: any thread might then poll it, so it would
//   have to lock.
// - `io_uring` for sockets: no faster (`docs/internals/decisions/mio.md`), forbidden in many
//   containers, and its buffers fit no existing trait.
// - One reactor for the process: its thread always exists, and each of its sources needs a lock.

mod builder;
pub(crate) mod entered_loop;
mod handle;
#[cfg(feature = "inspect")]
mod known_root;
#[cfg(not(feature = "inspect"))]
#[path = "no_known_root.rs"]
mod known_root;
mod limits;
mod local;
/// The inbox, for the models in `tests/trefoil-checks/`.
#[cfg(loom)]
#[doc(hidden)]
pub mod model;
mod operation_budget;
mod reactor;
mod routing;
mod shared;
#[cfg(all(test, not(loom)))]
mod simulated;
mod slow_poll;
mod source_waiters;
mod stats;
mod task_table;
mod time_slice;
mod turn;
mod virtual_clock;
mod yield_now;

pub(crate) use local::Local;
pub(crate) use operation_budget::{Refusal, Share};
pub(crate) use reactor::{Direction, SourceKey};
pub(crate) use shared::SharedLoop;
pub(crate) use source_waiters::SHARED;

pub use handle::EnteredHandle;
pub use slow_poll::TaskInfo;

/// The names that the crate's root re-exports. (Their paths through this module compile, too, but
/// are not documented.)
pub(crate) mod root {
    pub use super::builder::{EventLoop, EventLoopBuilder, run};
    pub use super::handle::{LoopHandle, spawn};
    pub use super::slow_poll::SlowPoll;
    pub use super::stats::LoopStats;
    pub use super::yield_now::yield_now;
}
#[doc(hidden)]
pub use root::*;
