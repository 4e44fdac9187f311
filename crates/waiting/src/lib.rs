//! How [trefoil](https://docs.rs/trefoil) waits outside its executors.
//!
//! This crate is a part of trefoil: any version may change anything here, so depend on trefoil
//! instead, which asks for exactly one version of it. [`timer`] has deadlines, and waits for
//! descriptors without an event loop; [`blocking_threads`] has threads for what may block.
#![allow(
    clippy::new_without_default,
    reason = "it has what trefoil uses, and no more"
)]
#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr
)]

use trefoil_os::{loom, sys};

pub mod blocking_threads;
pub mod timer;
