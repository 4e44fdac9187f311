//! Windows: what works differently than on Unix systems.
//!
//! Only sockets can be polled on this system, so the names of `rustix::fd` mean sockets here. For
//! everything else (files, pipes, processes), threads wait.

pub(crate) mod bell;
#[cfg(feature = "__descriptors")]
pub(crate) mod child;
#[cfg(any(feature = "threads", feature = "processes"))]
pub(crate) mod clock;
#[cfg(feature = "__descriptors")]
pub(crate) mod descriptor;
#[cfg(feature = "__descriptors")]
pub(crate) mod files;
pub(crate) mod fork;
#[cfg(feature = "event-loop")]
pub(crate) mod interest;
mod pair;
#[cfg(feature = "__descriptors")]
pub(crate) mod pipe_end;
pub(crate) mod poll;
#[cfg(feature = "__descriptors")]
pub(crate) mod refused;
#[cfg(feature = "__descriptors")]
pub(crate) mod signal;
pub(crate) mod signal_name;
#[cfg(feature = "__descriptors")]
pub(crate) mod sockets;
pub(crate) mod stack_end;
#[cfg(feature = "__descriptors")]
pub(crate) mod stdio;
pub(crate) mod thread_id;
#[cfg(feature = "__descriptors")]
pub(crate) mod transfer;
#[cfg(feature = "__descriptors")]
mod udp;

pub(crate) use super::portable::*;
