//! The worker's side: a process that receives frames, runs their items and sends the results.
//!
//! `serve` is the main loop. `batch` runs the items of one frame and sends their results; `call`
//! connects a running item with its cancellation; `context` keeps the contexts of `map_with`;
//! `memory` limits memory. `raw_call` turns functions into offsets within the program's image, and
//! back. `stream` is the connection with the parent; `path` is what there is beside it: the fast
//! path, or nothing.

pub(super) mod batch;
pub(super) mod call;
pub(super) mod context;
pub(super) mod memory;
pub(super) mod raw_call;
pub(super) mod serve;
pub(super) mod stream;
