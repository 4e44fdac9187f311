//! What threads and tasks share: locks, channels, the newest value, every value.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod broadcast;
mod contended;
#[path = "../deadline/mod.rs"]
mod deadline;
mod locks;
mod refused;
mod sync;
mod wakers;
mod watch;
