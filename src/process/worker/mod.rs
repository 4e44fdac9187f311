//! The worker's side: a process that receives frames, runs their items and sends the results.
//!
//! `serve` is the process; `batch` the items of one frame, and where their results go; `raw_call` turns
//! functions into offsets within the program's image, and back.

pub(super) mod batch;
pub(super) mod call;
pub(super) mod context;
pub(super) mod memory;
pub(super) mod raw_call;
pub(super) mod serve;
