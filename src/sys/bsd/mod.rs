//! macOS and FreeBSD: what works differently than on Linux.

#[cfg(target_os = "freebsd")]
pub(crate) mod auxiliary;
pub(crate) mod child;
pub(crate) mod itself;
#[cfg(target_vendor = "apple")]
pub(crate) mod macho;
pub(crate) mod peer;
#[cfg(target_os = "freebsd")]
pub(crate) mod private_memory;
pub(crate) mod reopen;
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod thread_id;
pub(crate) mod watch;

#[cfg(target_vendor = "apple")]
pub(crate) use macho as format;

pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
