//! The thread pool.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

mod adversity;
mod blocking;
mod blocking_faults;
mod calls;
mod current_pool;
#[path = "../deadline/mod.rs"]
mod deadline;
mod futures;
mod handles;
mod imap;
mod indices;
mod items;
mod maps;
mod overload;
mod pool;
#[cfg(target_os = "linux")]
#[path = "../support/refuse.rs"]
mod refuse;
mod resize;
mod spares;
mod stress;
