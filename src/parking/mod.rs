//! What every wait of trefoil is made of.
//!
//! [`park`] puts a thread to sleep until a waker wakes it; [`block_on`](mod@block_on) drives a
//! future on the waiting thread; [`marker`] has the current task and loop of a thread, and whether
//! it may block; [`waiters`] is a list of those that wait for one event.

pub(crate) mod block_on;
pub(crate) mod marker;
#[cfg_attr(not(feature = "inspect"), path = "not_noted.rs")]
pub(crate) mod noted;
pub(crate) mod park;
pub(crate) mod waiters;

pub(crate) use block_on::block_on;
