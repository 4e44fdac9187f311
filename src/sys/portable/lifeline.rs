//! What a process hangs by: here it watches its parent itself.
//!
//! The kernel does not kill a process because its parent is gone. So a worker waits for its
//! parent's end beside its parent's words ([`hold_on`]), from when it has been told that it is a
//! worker. One that hangs before that, or has been stopped, outlives a parent that is killed.
//!
//! Tests: `tests/process/pool.rs` (orphans).

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Pid;

use crate::sys::child::Handle;

/// The parent's end: there is none.
#[derive(Debug)]
pub(crate) enum Lifeline {}

impl Lifeline {
    /// Not here.
    pub(crate) fn tie(_pid: Pid) -> io::Result<(Self, OwnedFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn cut(&self) {
        match *self {}
    }
}

/// Readable when the process `parent` is gone. `None`: it is, or cannot be watched; the end of its
/// stream tells, too.
pub(crate) fn hold_on(parent: u32) -> Option<Handle> {
    Handle::open(Pid::from_raw(parent.cast_signed())?).ok()
}
