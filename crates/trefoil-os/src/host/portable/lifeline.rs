//! How a worker learns that its parent has ended: it watches the parent. (On Windows no
//! process is watched by its number: the worker is in its parent's job, `process_group`.)
//!
//! These kernels do not kill a process because its parent has ended. So a worker waits for its
//! parent's end together with its parent's messages ([`hold_on`]), as soon as it knows that it is a
//! worker. A worker that hangs before that, or that was stopped, outlives a parent that is killed.
//!
//! Tests: `tests/process/pool.rs::{no_worker_outlives_its_parent,
//! nor_one_that_had_not_read_its_messages}`.

use std::io;

use crate::sys::child::{Handle, Id};
use crate::sys::descriptor::OwnedFile;

/// The parent's end of a lifeline: there are none here.
#[derive(Debug)]
pub enum Lifeline {}

impl Lifeline {
    /// Makes a lifeline: unsupported here.
    pub fn tie(_id: Id, _child: &Handle) -> io::Result<Option<(Self, OwnedFile)>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Would end the worker.
    pub fn cut(&self) {
        match *self {}
    }
}

/// A handle that is readable when the process `parent` has ended. `None`: it has already ended, or
/// cannot be watched. Then the worker learns of it by the end of the stream.
pub fn hold_on(parent: u32) -> Option<Handle> {
    Handle::open(Id::from_raw(parent.cast_signed())?).ok()
}
