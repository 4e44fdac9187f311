//! Futures on the pool: how they are spawned, and the list of those that have not ended.

pub(super) mod list;
pub(super) mod spawn_async;
