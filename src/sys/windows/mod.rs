//! Windows: what goes another way than on Unix systems.
//!
//! Descriptors are sockets here: `rustix::fd` names them alike. What is none (files, pipes, processes) is waited for by threads.

pub(crate) mod bell;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod descriptor;
pub(crate) mod files;
pub(crate) mod fork;
mod pair;
pub(crate) mod pipe_end;
pub(crate) mod poll;
pub(crate) mod refused;
pub(crate) mod signal;
pub(crate) mod signal_name;
pub(crate) mod slack;
pub(crate) mod sockets;
pub(crate) mod stdio;
pub(crate) mod thread_id;
pub(crate) mod transfer;
pub(crate) mod watch;

pub(crate) use super::portable::thread_clock;
