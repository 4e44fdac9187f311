//! The event loop, its timers and its sockets, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). What looks at
//! the whole process (descriptors, threads, limits) runs in a process of its own
//! (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod async_fd;
mod attacks;
mod carried;
mod children;
mod connecting;
mod datagrams;
#[path = "../deadline/mod.rs"]
mod deadline;
mod dropped;
mod edges;
mod embedded;
mod fairness;
mod files;
mod handlers;
mod left;
mod limits;
mod roots;
mod running;
mod sending;
mod sieges;
mod signals;
mod slow_poll;
mod snapshot;
mod sockets;
mod standard;
mod support;
mod threads;
mod time;
mod transfer;
mod unix;
mod unobserved;
mod virtual_time;
mod wakers;
mod yields;
