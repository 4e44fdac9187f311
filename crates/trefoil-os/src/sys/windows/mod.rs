//! Windows: what works differently than on Unix systems.
//!
//! Only sockets can be polled on this system, so the names of `rustix::fd` mean sockets here. For
//! everything else (files, pipes, processes), threads wait.

#[cfg(feature = "__descriptors")]
pub mod bell;
#[cfg(feature = "__descriptors")]
pub mod child;
#[cfg(any(feature = "threads", feature = "processes"))]
pub mod clock;
#[cfg(feature = "__descriptors")]
pub mod descriptor;
#[cfg(feature = "__descriptors")]
pub mod errors;
#[cfg(feature = "__descriptors")]
pub mod files;
pub mod fork;
#[cfg(feature = "event-loop")]
pub mod interest;
#[cfg(feature = "__descriptors")]
mod pair;
#[cfg(feature = "__descriptors")]
pub mod pipe_end;
#[cfg(feature = "__descriptors")]
pub mod poll;
#[cfg(feature = "__descriptors")]
pub mod signal;
pub mod signal_name;
#[cfg(feature = "__descriptors")]
pub mod sockets;
pub(crate) mod stack_end;
pub mod stderr;
#[cfg(feature = "__descriptors")]
pub mod stdio;
pub mod thread_id;
#[cfg(feature = "__descriptors")]
pub mod transfer;
#[cfg(feature = "__descriptors")]
mod udp;

pub use super::portable::*;
