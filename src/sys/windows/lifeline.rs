//! What ends a worker whose parent is gone: the job that it is in (`family`), and its stream's end.
//! So there is nothing else.
//!
//! Tests: `tests/process/pool.rs` (orphans).

use std::io;

use super::child::{Handle, Id};
use super::descriptor::OwnedFile;

/// The parent's end: there is none.
#[derive(Debug)]
pub(crate) enum Lifeline {}

impl Lifeline {
    /// Not here.
    pub(crate) fn tie(_id: Id) -> io::Result<(Self, OwnedFile)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn cut(&self) {
        match *self {}
    }
}

/// There is nothing to watch.
pub(crate) fn hold_on(_parent: u32) -> Option<Handle> {
    None
}
