//! Failed items of [trefoil](https://docs.rs/trefoil)'s worker processes as files.
//!
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod capsule;
mod keep;
mod raw_environment;
mod replay;
mod rights;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/DEAD_WORKER.md")]
mod guide {}

pub use capsule::Capsule;
pub use keep::{KeepFailures, capsule_of};
pub use replay::{init, replayable, replayable_with};
