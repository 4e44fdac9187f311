//! What every wait of trefoil is made of.
//!
//! [`park`] puts a thread to sleep until a waker wakes it; [`block_on`](mod@block_on) drives a
//! future on the waiting thread; [`marker`] has the current task and loop of a thread, and whether
//! it may block; [`waiters`] is a list of those that wait for one event.

pub mod block_on;
pub mod marker;
pub(crate) mod noted;
pub mod park;
pub mod waiters;

pub use block_on::block_on;
