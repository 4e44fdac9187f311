//! Calls that may block, and threads that stand in for those that do: each `call` is timed, and the
//! `watch` notices which of them wait.

pub(super) mod announce;
pub(super) mod call;
pub(super) mod watch;
