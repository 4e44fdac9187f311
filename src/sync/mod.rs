//! What threads and tasks wait with and share.
//!
//! So far this is what the rest of the crate waits with: `park` puts a thread
//! to sleep until a waker wakes it, `block_on` drives a future on the thread
//! that waits for it. The public primitives (channels, locks, semaphores) come
//! here.

pub(crate) mod block_on;
pub(crate) mod park;

#[allow(unused_imports)] // the combinators' blocking halves
pub(crate) use block_on::block_on;
