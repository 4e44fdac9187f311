//! The event loop, its timers and its sockets, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). Tests that look at the whole
//! process (descriptors, threads, limits) run in separate processes (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

#[cfg(target_os = "linux")]
mod async_fd;
#[cfg(target_os = "linux")]
mod buffered;
mod child_processes;
#[cfg(target_os = "linux")]
mod children;
mod connecting;
#[cfg(target_os = "linux")]
mod datagrams;
#[path = "../deadline/mod.rs"]
mod deadline;
#[cfg(target_os = "linux")]
mod dropped;
#[cfg(target_os = "linux")]
mod edge_cases;
#[cfg(target_os = "linux")]
mod embedded;
#[cfg(target_os = "linux")]
mod fairness;
#[cfg(target_os = "linux")]
mod faults;
mod files;
#[cfg(target_os = "linux")]
mod handlers;
mod leaks;
#[cfg(target_os = "linux")]
mod limits;
mod moved;
#[cfg(target_os = "linux")]
mod readiness;
mod roots;
mod running;
#[cfg(target_os = "linux")]
mod sending;
#[cfg(target_os = "linux")]
mod signals;
mod slow_poll;
mod snapshot;
mod sockets;
#[cfg(target_os = "linux")]
mod standard;
#[cfg(target_os = "linux")]
mod stress;
mod support;
mod threads;
mod time;
#[cfg(target_os = "linux")]
mod transfer;
#[cfg(target_os = "linux")]
mod unix;
mod unobserved;
#[cfg(target_os = "linux")]
mod virtual_time;
#[cfg(target_os = "linux")]
mod wakers;
mod yields;
