//! Calls that may block, and threads that stand in for those that do: each `call` is timed, and the
//! `stall_monitor` notices which of them wait.

pub(super) mod call;
pub(super) mod spawn_blocking;
pub(super) mod stall_monitor;
