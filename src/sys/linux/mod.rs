//! Linux.
//!
//! The duties that this system alone fulfils so, beside those of all Unix systems; the table is at
//! the head of `sys`. Those that are left out with `--cfg trefoil_port` are fulfilled by `portable`
//! then.

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
pub(crate) mod slack;
pub(crate) mod sockets;
pub(crate) mod thread_clock;
pub(crate) mod thread_id;
pub(crate) mod watch;

#[cfg(trefoil_port)]
pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
