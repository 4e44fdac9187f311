//! Futures on the pool.

pub(super) mod futures;
pub(super) mod spawn_async;
