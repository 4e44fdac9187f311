//! What [trefoil](https://docs.rs/trefoil) reports of its tasks, and what is made of it.
//!
//! This crate is a part of trefoil: any version may change anything here, so depend on trefoil
//! instead, which asks for exactly one version of it. [`trace_log`] has a function for each event,
//! which the executors call; [`live`] is the tree of tasks (`trefoil::inspect`); `recording`, with
//! the feature `trace`, is `trefoil::trace`.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]

use trefoil_os::{loom, printable, sys};

mod clock;
mod event;
mod json;
pub mod live;
#[cfg(feature = "trace")]
pub mod recording;
mod role;
mod switch;
pub mod trace_log;
