//! macOS and FreeBSD: what works differently than on Linux.

pub(crate) mod child;
pub(crate) mod interest;
pub(crate) mod peer;
pub(crate) mod reopen;
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod thread_id;

pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
