//! Windows: what works differently than on Unix systems.

pub(crate) mod broken_pipe;
#[cfg(feature = "auto")]
pub(crate) mod constructor;
pub(crate) mod disk;
pub(crate) mod ends;
pub(crate) mod family;
pub(crate) mod itself;
mod job;
pub(crate) mod pe;
pub(crate) mod private_memory;
pub(crate) mod standard_streams;
pub(crate) mod view;
pub(crate) mod worker;

pub(crate) use pe as format;

pub(crate) use super::portable::*;
