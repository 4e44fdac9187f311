//! The event loop and its timers, as their users see them.
//!
//! Everything that could hang has a deadline (`within_deadline`). Tests that look at the whole
//! process (descriptors, threads, limits) run in separate processes (`alone`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols
#![cfg_attr(windows, allow(dead_code, unused_imports))] // what only some tests of other systems need

mod budget;
#[path = "../deadline/mod.rs"]
mod deadline;
mod edge_cases;
#[cfg(unix)]
mod embedded;
mod fairness;
mod handles;
mod leaks;
#[cfg(unix)]
mod loops;
mod roots;
mod running;
mod slow_poll;
mod stats;
#[path = "../support/loops.rs"]
mod support;
mod threads;
mod time;
mod unobserved;
mod virtual_time;
#[cfg(unix)]
mod wakers;
mod yields;
