//! macOS and FreeBSD: what works differently than on Linux.

#[cfg(feature = "__descriptors")]
pub(crate) mod child;
#[cfg(feature = "event-loop")]
pub(crate) mod interest;
#[cfg(feature = "__descriptors")]
pub(crate) mod peer;
#[cfg(feature = "__descriptors")]
pub(crate) mod reopen;
#[cfg(feature = "__descriptors")]
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod thread_id;

pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
