//! The fast path, for calls that follow one another closely: words in pages that a worker and its
//! parent share, and how long both poll them before they sleep.
//!
//! All of it is optional: without it frames and results go through the socket.

pub(super) mod poll_policy;
pub(super) mod shared_ring;
pub(super) mod worker_bell;
