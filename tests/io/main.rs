//! Sockets, files, child processes, signals and other descriptors, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). Tests that look at the whole
//! process (descriptors, threads, limits) run in separate processes (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![cfg_attr(windows, allow(dead_code, unused_imports))] // what only some tests of other systems need

#[cfg(unix)]
mod async_fd;
mod buffered;
mod child_processes;
#[cfg(unix)]
mod children;
mod connecting;
#[cfg(unix)]
mod datagrams;
#[path = "../deadline/mod.rs"]
mod deadline;
#[cfg(unix)]
mod dropped;
mod edge_cases;
#[cfg(unix)]
mod faults;
mod files;
#[cfg(unix)]
mod handlers;
mod listeners;
mod moved;
mod readiness;
#[cfg(target_os = "linux")]
#[path = "../support/refuse.rs"]
mod refuse;
#[cfg(unix)]
mod sending;
#[cfg(unix)]
mod signals;
mod sockets;
#[cfg(unix)]
mod standard;
#[cfg(unix)]
mod stress;
#[cfg(target_os = "linux")]
mod stuck;
#[path = "../support/loops.rs"]
mod support;
mod transfer;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
mod writers;
