//! A copy of this process that is its sibling: there is none here.

use std::io;
use std::sync::atomic::AtomicU32; // as on Linux: no protocol

use rustix::fd::OwnedFd;

use crate::sys::descriptor::AsFile;

/// Whether a process can have such copies.
pub const FORKS: bool = false;

/// Why there are none.
pub const UNSUPPORTED: &str = "a fork server needs Linux with the GNU C library";

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, UNSUPPORTED))
}

/// The names of other threads: not known.
pub fn other_threads() -> Vec<String> {
    Vec::new()
}

/// Makes a copy of this process: unsupported here.
pub fn fork(_number: &AtomicU32) -> io::Result<Option<u32>> {
    unsupported()
}

/// Nothing makes a copy that would write it again.
pub fn flush_streams() {}

/// Sets variables of a copy: unsupported here.
pub fn set_variables(_variables: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<()> {
    unsupported()
}

/// Another handle of this with such a number: unsupported here.
pub fn duplicate(_descriptor: impl AsFile, _first: i32) -> io::Result<OwnedFd> {
    unsupported()
}

/// Makes standard output another handle of this: unsupported here.
pub fn use_as_output(_descriptor: impl AsFile) -> io::Result<()> {
    unsupported()
}

/// Makes standard error another handle of this: unsupported here.
pub fn use_as_error(_descriptor: impl AsFile) -> io::Result<()> {
    unsupported()
}
