//! Linux.
//!
//! The duties that Linux fulfils in its own way; those that it shares with all Unix systems are in
//! `unix`. The table is at the head of `sys`. With `--cfg trefoil_port`, some are left out here,
//! and `portable` fulfils them.

#[cfg(not(trefoil_port))]
pub(crate) mod bell;
pub(crate) mod child;
pub(crate) mod interest;
pub(crate) mod peer;
pub(crate) mod reopen;
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod thread_clock;
pub(crate) mod thread_id;

#[cfg(trefoil_port)]
pub(crate) use super::portable::*;
pub(crate) use super::unix::*;
