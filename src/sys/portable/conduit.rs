//! What a channel between processes is made of: descriptors, which do not travel here. So there is
//! none.
//!
//! Tests: `tests/process/plain.rs`.

use std::io;

use rustix::io::{Errno, Result};

use crate::sys::descriptor::{AsFile, OwnedFile};

fn refused() -> io::Error {
    let words = "there are no channels between processes on this system: worker processes have nothing but a stream of bytes here. \
                 Give what is to travel as arguments and results, or use `trefoil::sync` within one process";
    io::Error::new(io::ErrorKind::Unsupported, words)
}

/// Not here.
pub(crate) fn pipe(_room: usize) -> io::Result<Option<(OwnedFile, OwnedFile)>> {
    Err(refused())
}

/// Not here.
pub(crate) fn credits(_count: u32) -> io::Result<OwnedFile> {
    Err(refused())
}

/// Not here.
pub(crate) fn file() -> io::Result<OwnedFile> {
    Err(refused())
}

/// There is nothing to give back.
pub(crate) fn release(_file: impl AsFile, _offset: u64, _length: u64) {}

/// Not here.
pub(crate) fn only_one(_file: impl AsFile) -> Result<OwnedFile> {
    Err(Errno::OPNOTSUPP)
}
