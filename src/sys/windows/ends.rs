//! What the ends of a channel do with their files: there are no channels (`conduit`).

use std::fs::File;
use std::io;
use std::os::windows::io::AsHandle;

use rustix::io::{Errno, Result};

/// Nothing is.
pub(crate) fn is_pipe(_end: impl AsHandle, _writes: bool) -> Result<bool> {
    Ok(false)
}

/// Not here.
pub(crate) fn unblock(_end: impl AsHandle) -> Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Nothing waits.
pub(crate) fn waiting(_end: impl AsHandle) -> u64 {
    0
}

/// Not here.
pub(crate) fn advance(_file: impl AsHandle, _by: u64) -> Result<u64> {
    Err(Errno::OPNOTSUPP)
}

/// There is nothing in it.
pub(crate) fn length(_file: impl AsHandle) -> u64 {
    0
}

/// Not here.
pub(crate) fn read(_end: impl AsHandle, _bytes: &mut [u8]) -> Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Not here.
pub(crate) fn write(_end: impl AsHandle, _bytes: &[u8]) -> Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Not here.
pub(crate) fn read_exact_at(_file: &File, _bytes: &mut [u8], _offset: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
