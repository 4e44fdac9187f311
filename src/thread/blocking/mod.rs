//! Calls that may block, and threads that stand in for those that do.

pub(super) mod blocking;
pub(super) mod call;
pub(super) mod watch;
