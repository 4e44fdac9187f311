//! macOS and FreeBSD: what goes another way than on Linux.

pub(crate) mod bell;
pub(crate) mod child;
pub(crate) mod peer;
pub(crate) mod reopen;
pub(crate) mod slack;
pub(crate) mod sockets;
pub(crate) mod thread_clock;
pub(crate) mod thread_id;
pub(crate) mod watch;

pub(crate) use super::unix::*;
