//! What every wait of trefoil is made of.
//!
//! [`park`] puts a thread to sleep until a waker wakes it; [`block_on`](mod@block_on) drives a
//! future on the waiting thread; [`short_wait`] looks a few times before that; [`marker`] has the
//! current task and loop of a thread, and whether it may block; [`waiters`] is a list of those that
//! wait for one event.

pub(crate) mod block_on;
#[cfg(feature = "inspect")]
pub(crate) mod lock_events;
#[cfg(not(feature = "inspect"))]
#[path = "no_lock_events.rs"]
pub(crate) mod lock_events;
pub(crate) mod marker;
pub(crate) mod park;
#[cfg_attr(not(feature = "sync"), allow(dead_code))]
pub(crate) mod short_wait;
pub(crate) mod waiters;

pub(crate) use block_on::{block_on, block_on_tasks};
