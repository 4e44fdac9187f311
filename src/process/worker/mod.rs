//! The worker's side: a process that receives frames, runs their items and sends the results.
//!
//! `serve` begins and ends the process, `frames` is the main loop: frames come, and records leave,
//! by its `peer`. `batch` runs the items of one frame; `cancel` connects a running item with its
//! cancellation; `context` keeps the contexts of `map_with`; `memory_limit` limits memory; `retire`
//! ends the use of the process. `raw_call` turns functions into offsets within the program's image,
//! and back. `stream` is the connection with the parent, and what has come on it. `fork_server` is
//! the other kind of process: it runs initializers, and makes workers by copying itself.

pub(super) mod batch;
pub(super) mod cancel;
pub(super) mod context;
mod fork_server;
mod frames;
pub(super) mod index;
pub(super) mod memory_limit;
mod panic_report;
pub(super) mod parent_stream;
mod peer;
pub(super) mod raw_call;
pub(super) mod retire;
pub(super) mod serve;
