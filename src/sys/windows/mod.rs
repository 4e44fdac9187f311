//! Windows: what works differently than on Unix systems.
//!
//! Only sockets can be polled on this system, so the names of `rustix::fd` mean sockets here. For
//! everything else (files, pipes, processes), threads wait.

pub(crate) mod bell;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod interest;
mod pair;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod refused;
pub(crate) mod signal;
pub(crate) mod signal_name;
pub(crate) mod sockets;
pub(crate) mod stack_end;
pub(crate) mod stdio;
pub(crate) mod thread_id;
pub(crate) mod transfer;
mod udp;

pub(crate) use super::portable::*;
