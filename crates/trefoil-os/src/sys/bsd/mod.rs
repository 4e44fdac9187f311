//! macOS and FreeBSD: what works differently than on Linux.

#[cfg(feature = "__descriptors")]
pub mod child;
#[cfg(feature = "event-loop")]
pub mod interest;
#[cfg(feature = "__descriptors")]
pub(crate) mod reopen;
pub mod thread_id;

pub use super::portable::*;
pub use super::unix::*;
