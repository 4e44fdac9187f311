//! What a process hangs by: here it watches its parent itself. (On Windows there is nothing to do:
//! it is in a job of its parent's, `family`.)
//!
//! The kernel does not kill a process because its parent is gone. So a worker waits for its
//! parent's end beside its parent's words ([`hold_on`]), from when it has been told that it is a
//! worker. One that hangs before that, or has been stopped, outlives a parent that is killed.
//!
//! Tests: `tests/process/pool.rs` (orphans).

use std::io;

use crate::sys::child::{Handle, Id};
use crate::sys::descriptor::OwnedFile;

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

/// Readable when the process `parent` is gone. `None`: it is, or cannot be watched; the end of its
/// stream tells, too.
#[cfg(unix)]
pub(crate) fn hold_on(parent: u32) -> Option<Handle> {
    Handle::open(Id::from_raw(parent.cast_signed())?).ok()
}

/// There is nothing to watch.
#[cfg(windows)]
pub(crate) fn hold_on(_parent: u32) -> Option<Handle> {
    None
}
