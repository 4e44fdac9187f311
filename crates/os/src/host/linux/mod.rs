//! Linux: what worker processes ask of it in its own way.

pub(crate) mod activity;
pub(crate) mod auxiliary;
#[cfg(not(trefoil_port))]
pub(crate) mod conduit;
#[cfg(not(trefoil_port))]
pub(crate) mod executable;
pub(crate) mod free_memory;
#[cfg(not(trefoil_port))]
pub(crate) mod handover;
pub(crate) mod itself;
pub(crate) mod kernel_kills;
pub(crate) mod large_pages;
#[cfg(not(trefoil_port))]
pub(crate) mod lifeline;
#[cfg(not(trefoil_port))]
pub(crate) mod memory_file;
#[cfg(not(trefoil_port))]
pub(crate) mod private_memory;
#[cfg(not(trefoil_port))]
pub(crate) mod valve;

#[cfg(trefoil_port)]
pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
