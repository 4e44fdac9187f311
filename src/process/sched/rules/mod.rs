//! What a call may ask for besides a worker, each in a file of its own: that its items run alone,
//! have copies, fit into memory, find a context, or that the pool grows with its work.

pub(super) mod alone;
pub(super) mod contexts;
pub(super) mod elastic;
pub(super) mod hedge;
pub(super) mod memory;
