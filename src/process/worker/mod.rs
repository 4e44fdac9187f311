//! The worker's side: a process that receives frames, runs their items and sends the results.
//!
//! `serve` is the process; `batch` the items of one frame, and where their results go; `raw_call`
//! turns functions into offsets within the program's image, and back; `path` is what the worker has
//! beside its stream: the fast path, or nothing.

pub(super) mod batch;
pub(super) mod call;
pub(super) mod context;
pub(super) mod memory;
mod path;
pub(super) mod raw_call;
pub(super) mod serve;
mod stream;
