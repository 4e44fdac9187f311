//! Linux.
//!
//! The duties that Linux fulfils in its own way; those that it shares with all Unix systems are in
//! `unix`. The table is at the head of `sys`. With `--cfg trefoil_port`, some are left out here,
//! and `portable` fulfils them.

#[cfg(all(feature = "__descriptors", not(trefoil_port)))]
pub mod bell;
#[cfg(feature = "__descriptors")]
pub mod child;
#[cfg(all(feature = "processes", not(any(loom, trefoil_port))))]
pub mod futex;
#[cfg(feature = "backtrace")]
pub mod heap;
#[cfg(feature = "event-loop")]
pub mod interest;
#[cfg(any(feature = "threads", feature = "processes"))]
pub mod large_pages;
#[cfg(feature = "backtrace")]
pub mod modules;
#[cfg(feature = "__descriptors")]
pub(crate) mod reopen;
#[cfg(feature = "threads")]
pub mod thread_clock;
pub mod thread_id;

#[cfg(trefoil_port)]
pub use super::portable::*;
pub use super::unix::*;
