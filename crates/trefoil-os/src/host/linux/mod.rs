//! Linux: what worker processes ask of it in its own way.

pub mod activity;
#[cfg(not(trefoil_port))]
pub mod affinity;
pub(crate) mod auxiliary;
#[cfg(not(trefoil_port))]
pub mod channel_files;
mod control_groups;
#[cfg(feature = "backtrace")]
#[cfg(not(trefoil_port))]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod crash_handler;
#[cfg(feature = "backtrace")]
#[cfg(not(any(trefoil_port, target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "../portable/crash_handler.rs"]
pub mod crash_handler;
#[cfg(feature = "backtrace")]
#[cfg(not(trefoil_port))]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod crash_registers;
#[cfg(not(trefoil_port))]
pub mod executable;
pub mod free_memory;
#[cfg(not(trefoil_port))]
pub mod handover;
pub mod itself;
pub mod kernel_kills;
#[cfg(not(trefoil_port))]
pub mod lifeline;
#[cfg(not(trefoil_port))]
pub mod memory_file;
#[cfg(not(trefoil_port))]
pub mod own_memory;
#[cfg(not(trefoil_port))]
pub mod private_memory;
#[cfg(not(trefoil_port))]
pub mod sibling;
#[cfg(trefoil_port)]
pub use super::portable::*;
pub use super::unix::*;
