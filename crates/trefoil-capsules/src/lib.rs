//! Failed items of [trefoil](https://docs.rs/trefoil)'s worker processes as files.
//!
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod capsule;
mod functions;
mod groups;
mod keep;
mod raw_environment;
mod replay;
mod rights;
mod shrink;
mod signature;
mod tree;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/DEAD_WORKER.md")]
mod guide {}

pub use capsule::Capsule;
pub use functions::{replayable, replayable_with};
pub use groups::{Group, groups};
#[doc(no_inline)]
pub use indicatif::ProgressBar;
pub use keep::{KeepFailures, capsule_of};
pub use replay::init;
pub use shrink::{Budget, Shrunk, shrink};
