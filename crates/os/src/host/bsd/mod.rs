//! macOS and FreeBSD: what works differently than on Linux.

#[cfg(target_os = "freebsd")]
pub(crate) mod auxiliary;
pub(crate) mod itself;
#[cfg(target_vendor = "apple")]
pub(crate) mod macho;
#[cfg(target_os = "freebsd")]
pub(crate) mod private_memory;

#[cfg(target_vendor = "apple")]
pub(crate) use macho as format;

pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
