//! Windows: what works differently than on Unix systems.
//!
//! Only sockets can be polled on this system, so the names of `rustix::fd` mean sockets here. For
//! everything else (files, pipes, processes), threads wait.

pub(crate) mod bell;
pub(crate) mod broken_pipe;
pub(crate) mod child;
pub(crate) mod clock;
#[cfg(feature = "auto")]
pub(crate) mod constructor;
pub(crate) mod descriptor;
pub(crate) mod disk;
pub(crate) mod ends;
pub(crate) mod family;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod itself;
mod job;
mod pair;
pub(crate) mod pe;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod private_memory;
pub(crate) mod refused;
pub(crate) mod signal;
pub(crate) mod signal_name;
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod standard_streams;
pub(crate) mod stdio;
pub(crate) mod thread_id;
pub(crate) mod transfer;
mod udp;
pub(crate) mod view;
pub(crate) mod watch;
pub(crate) mod worker;

pub(crate) use pe as format;

pub(crate) use super::portable::*;
