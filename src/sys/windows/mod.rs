//! Windows: what goes another way than on Unix systems.
//!
//! Descriptors are sockets here: `rustix::fd` names them alike. What is none (files, pipes,
//! processes) is waited for by threads.

pub(crate) mod bell;
pub(crate) mod broken_pipe;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod conduit;
#[cfg(feature = "auto")]
pub(crate) mod constructor;
pub(crate) mod descriptor;
pub(crate) mod ends;
pub(crate) mod executable;
pub(crate) mod family;
pub(crate) mod files;
pub(crate) mod fork;
#[path = "../bsd/free_memory.rs"]
pub(crate) mod free_memory;
pub(crate) mod handover;
pub(crate) mod itself;
#[path = "../bsd/large_pages.rs"]
pub(crate) mod large_pages;
pub(crate) mod lifeline;
pub(crate) mod mapping;
pub(crate) mod memory_file;
mod pair;
pub(crate) mod pe;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod private_memory;
pub(crate) mod refused;
pub(crate) mod signal;
pub(crate) mod signal_name;
pub(crate) mod slack;
pub(crate) mod sockets;
pub(crate) mod standard_streams;
pub(crate) mod stdio;
pub(crate) mod thread_id;
pub(crate) mod transfer;
pub(crate) mod watch;
pub(crate) mod worker;

pub(crate) use pe as format;

pub(crate) use super::portable::thread_clock;
