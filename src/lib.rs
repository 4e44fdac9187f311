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

pub mod io;
pub mod time;

#[doc(inline)]
pub use task::{
    CancelOnDrop, Completer, JoinAll, Race, Shutdown, Task, TaskError, TaskId, Timeout, join_all,
    race, timeout,
};
