//! Tasks, functions over tasks, and what the executors share.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // that door is for the crate's own protocols

mod combinators;
#[path = "../deadline/mod.rs"]
mod deadline;
mod executor;
mod group;
mod group_futures;
mod handle;
mod into_tasks;
mod local;
mod macros;
mod mixed;
mod reentrancy;
#[cfg(all(target_os = "linux", not(miri)))]
#[path = "../support/refuse.rs"]
mod refuse;
mod streams;
mod trampoline;
mod with_futures;
