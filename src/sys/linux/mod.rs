//! Linux.
//!
//! The duties that Linux fulfils in its own way; those that it shares with all Unix systems are in
//! `unix`. The table is at the head of `sys`. With `--cfg trefoil_port`, some are left out here,
//! and `portable` fulfils them.

pub(crate) mod auxiliary;
#[cfg(not(trefoil_port))]
pub(crate) mod bell;
pub(crate) mod child;
#[cfg(not(trefoil_port))]
pub(crate) mod conduit;
#[cfg(not(trefoil_port))]
pub(crate) mod executable;
pub(crate) mod free_memory;
#[cfg(not(trefoil_port))]
pub(crate) mod handover;
pub(crate) mod itself;
pub(crate) mod large_pages;
#[cfg(not(trefoil_port))]
pub(crate) mod lifeline;
#[cfg(not(trefoil_port))]
pub(crate) mod memory_file;
pub(crate) mod peer;
#[cfg(not(trefoil_port))]
pub(crate) mod private_memory;
pub(crate) mod reopen;
pub(crate) mod sockets;
pub(crate) mod thread_clock;
pub(crate) mod thread_id;
pub(crate) mod watch;

#[cfg(trefoil_port)]
pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
