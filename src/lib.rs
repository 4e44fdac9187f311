//! Three executors, one [`Task`].
//!
//! - `ThreadPool`: work-stealing threads for CPU-bound work that shares memory.
//! - `ProcessPool`: worker processes over IPC pipes, for CPU-bound work that must be
//!   isolated.
//! - `EventLoop`: a single-threaded loop for I/O-bound work.

mod loom;
mod sys;

mod alarm;
pub mod sync;
pub mod task;

mod offload;

pub mod event_loop;
pub mod process;
pub mod thread;

mod executor;

pub mod io;
pub mod time;

#[doc(inline)]
pub use event_loop::{EventLoop, EventLoopBuilder, LoopHandle, YieldNow, run, spawn, yield_now};
#[doc(inline)]
pub use executor::{AnyExecutor, Executor, ExecutorError, Inline};
pub use process::{PoolError, ProcessPool, init};
#[doc(inline)]
pub use task::{
    AsCompleted, CancelOnDrop, CancelToken, CodecError, Completer, GroupError, GroupHandle,
    JoinAll, Panic, PanicLocation, Race, SharedTask, Shutdown, Task, TaskError, TaskGroup, TaskId,
    TaskReport, Timeout, TryJoinAll, Until, Wait, WorkerExit, as_completed, join_all,
    on_unobserved, race, timeout, try_join_all, wait,
};

#[doc(inline)]
pub use thread::{Scope, ScopedTask, ThreadPool, join, scope, spawn_blocking};
