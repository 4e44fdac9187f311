//! Operations on the files of a channel's ends. This system has no channels between processes
//! (`channel_files`), so all of them fail.

use std::os::windows::io::AsHandle;

use rustix::io::{Errno, Result};

/// Whether the file is such an end of a pipe: never here.
pub fn is_pipe(_end: impl AsHandle, _writes: bool) -> Result<bool> {
    Ok(false)
}

/// Makes the end non-blocking: unsupported here.
pub fn unblock(_end: impl AsHandle) -> Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// How many bytes can be read: none here.
pub fn waiting(_end: impl AsHandle) -> u64 {
    0
}

/// Reads from the end: unsupported here.
pub fn read(_end: impl AsHandle, _bytes: &mut [u8]) -> Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Writes to the end: unsupported here.
pub fn write(_end: impl AsHandle, _bytes: &[u8]) -> Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Reads from the file: unsupported here.
pub fn append_at(_file: impl AsHandle, _bytes: &mut Vec<u8>, _offset: u64) -> Result<usize> {
    Err(Errno::OPNOTSUPP)
}
