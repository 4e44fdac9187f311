//! Windows: what works differently than on Unix systems.

pub mod broken_pipe;
#[cfg(feature = "auto")]
pub mod constructor;
pub mod disk;
pub mod ends;
pub mod itself;
mod job;
pub mod pe;
pub mod private_memory;
pub mod process_group;
pub mod standard_streams;
pub mod view;
pub mod worker;

pub use pe as format;

pub use super::portable::*;
