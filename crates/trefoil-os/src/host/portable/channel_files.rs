//! The files of a channel between processes. They are descriptors, which do not travel on these
//! systems, so there are no channels.
//!
//! Tests: `tests/process/plain.rs`.

use std::io;

use rustix::io::{Errno, Result};

use crate::sys::descriptor::{AsFile, OwnedFile};

fn refused() -> io::Error {
    let message = "channels between processes are not available on this system, where worker \
        processes have only a stream of bytes: send the items as arguments and results, or use \
        `trefoil::sync` within one process";
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// A pipe for a channel's records: unsupported here.
pub fn pipe(_room: usize) -> io::Result<Option<(OwnedFile, OwnedFile)>> {
    Err(refused())
}

/// A semaphore: unsupported here.
pub fn credits(_count: u32) -> io::Result<OwnedFile> {
    Err(refused())
}

/// A file for items that are too large for a record: unsupported here.
pub fn file(_length: usize) -> io::Result<OwnedFile> {
    Err(refused())
}

/// How many bytes the file holds: there is no file.
pub fn held(_file: impl AsFile) -> u64 {
    0
}

/// Gives a part of the file back to the system: there is no file.
pub fn release(_file: impl AsFile, _offset: u64, _length: u64) {}

/// A lock that one process holds at a time: unsupported here.
pub fn only_one(_file: impl AsFile) -> Result<OwnedFile> {
    Err(Errno::OPNOTSUPP)
}
