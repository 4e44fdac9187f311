//! Three executors, one [`Task`].
//!
//! - [`ThreadPool`](thread::ThreadPool): work-stealing threads for CPU-bound work that shares memory.
//! - [`ProcessPool`](process::ProcessPool): worker processes over IPC pipes, for CPU-bound work that must be
//!   isolated.
//! - [`EventLoop`](event_loop::EventLoop): a single-threaded loop for I/O-bound work.

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
pub use task::{Task, TaskError, TaskId};
