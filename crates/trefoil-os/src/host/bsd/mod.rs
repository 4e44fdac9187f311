//! macOS and FreeBSD: what works differently than on Linux.

#[cfg(target_os = "freebsd")]
pub(crate) mod auxiliary;
pub mod itself;
#[cfg(target_vendor = "apple")]
pub mod macho;
#[cfg(target_os = "freebsd")]
pub mod private_memory;

#[cfg(target_vendor = "apple")]
pub use macho as format;

pub use super::portable::*;
pub use super::unix::*;
