//! Sockets, files, child processes, signals and other descriptors, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). Tests that look at the whole
//! process (descriptors, threads, limits) run in separate processes (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![cfg_attr(windows, allow(dead_code, unused_imports))] // what only some tests of other systems need

#[cfg(target_os = "linux")]
mod async_fd;
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
mod edge_cases;
#[cfg(target_os = "linux")]
mod faults;
mod files;
#[cfg(target_os = "linux")]
mod handlers;
mod moved;
mod readiness;
#[cfg(target_os = "linux")]
mod sending;
#[cfg(target_os = "linux")]
mod signals;
mod sockets;
#[cfg(target_os = "linux")]
mod standard;
#[cfg(target_os = "linux")]
mod stress;
#[path = "../support/loops.rs"]
mod support;
mod transfer;
#[cfg(target_os = "linux")]
mod unix;
