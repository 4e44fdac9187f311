//! Linux.
//!
//! The duties that Linux fulfils in its own way; those that it shares with all Unix systems are in
//! `unix`. The table is at the head of `sys`. With `--cfg trefoil_port`, some are left out here,
//! and `portable` fulfils them.

#[cfg(not(trefoil_port))]
pub(crate) mod bell;
#[cfg(feature = "__descriptors")]
pub(crate) mod child;
#[cfg(all(feature = "processes", not(any(loom, trefoil_port))))]
pub(crate) mod futex;
#[cfg(feature = "event-loop")]
pub(crate) mod interest;
#[cfg(feature = "__descriptors")]
pub(crate) mod peer;
#[cfg(feature = "__descriptors")]
pub(crate) mod reopen;
#[cfg(feature = "__descriptors")]
pub(crate) mod sockets;
pub(crate) mod stack_end;
#[cfg(feature = "threads")]
pub(crate) mod thread_clock;
pub(crate) mod thread_id;

#[cfg(trefoil_port)]
pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
