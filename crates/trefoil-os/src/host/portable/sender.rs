//! Which process has written to a socket: not asked here, where there is no sandbox.

use std::io;
use std::os::fd::AsFd;

/// Unsupported.
pub fn ask(_socket: impl AsFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Unsupported.
pub fn sender(_socket: impl AsFd) -> io::Result<Option<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}
