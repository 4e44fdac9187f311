//! What threads and tasks wait with, in [trefoil](https://docs.rs/trefoil).
//!
//! This crate is a part of trefoil: any version may change anything here, so depend on trefoil
//! instead, which asks for exactly one version of it. [`sync`] has the locks and channels, which
//! users know as `trefoil::sync`; [`parking`] has what every wait of trefoil is made of.
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]

use trefoil_os::{loom, sys};
use trefoil_trace::trace_log;
use trefoil_waiting::blocking_threads;

#[macro_use]
mod debug;

pub mod parking;
pub mod sync;

pub use sync::semaphore::give_back;
