//! The event loop and its timers, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). Tests that look at the whole
//! process (descriptors, threads, limits) run in separate processes (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![cfg_attr(windows, allow(dead_code, unused_imports))] // what only some tests of other systems need

#[path = "../deadline/mod.rs"]
mod deadline;
mod edge_cases;
#[cfg(target_os = "linux")]
mod embedded;
mod fairness;
mod leaks;
#[cfg(target_os = "linux")]
mod loops;
mod roots;
mod running;
mod slow_poll;
mod snapshot;
#[path = "../support/loops.rs"]
mod support;
mod threads;
mod time;
mod unobserved;
mod virtual_time;
#[cfg(target_os = "linux")]
mod wakers;
mod yields;
