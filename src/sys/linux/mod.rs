//! Linux.
//!
//! The duties that this system alone fulfils so, beside those of all Unix systems; the table is at the head of `sys`.

pub(crate) mod arena;
pub(crate) mod bell;
pub(crate) mod broken_pipe;
pub(crate) mod child;
pub(crate) mod free_memory;
pub(crate) mod image;
pub(crate) mod large_pages;
pub(crate) mod ledger;
pub(crate) mod lifeline;
pub(crate) mod limits;
pub(crate) mod mapping;
pub(crate) mod peer;
pub(crate) mod reopen;
pub(crate) mod segment;
mod signal_mask;
pub(crate) mod slack;
pub(crate) mod sockets;
pub(crate) mod stack;
pub(crate) mod standard_streams;
pub(crate) mod thread_clock;
pub(crate) mod thread_id;
pub(crate) mod watch;
pub(crate) mod worker;

pub(crate) use super::unix::*;
