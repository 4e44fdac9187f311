//! The event loop, its timers and its sockets, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). What looks at
//! the whole process (descriptors, threads, limits) runs in a process of its own
//! (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod async_fd;
mod buffered;
mod children;
mod connecting;
mod datagrams;
#[path = "../deadline/mod.rs"]
mod deadline;
mod dropped;
mod edge_cases;
mod embedded;
mod fairness;
mod faults;
mod files;
mod handlers;
mod leaks;
mod limits;
mod moved;
mod readiness;
mod roots;
mod running;
mod sending;
mod signals;
mod slow_poll;
mod snapshot;
mod sockets;
mod standard;
mod stress;
mod support;
mod threads;
mod time;
mod transfer;
mod unix;
mod unobserved;
mod virtual_time;
mod wakers;
mod yields;
