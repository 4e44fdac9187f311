//! Calls on files for which `std` has a different function on each system.
//!
//! - **Y43** The handle of a file is open while the file is borrowed.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::windows::fs::{FileExt, MetadataExt, symlink_dir, symlink_file};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::GetFileSizeEx;

/// How long a file of this process may be: this system has no limit.
pub fn longest() -> u64 {
    u64::MAX
}

/// Reads bytes at the file's current position.
pub fn read(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    file.read(bytes)
}

/// Writes bytes at the file's current position; returns how many the system has taken.
pub fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    file.write(bytes)
}

/// Writes all bytes at `offset`.
pub fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => (bytes, offset) = (&bytes[count..], offset + count as u64),
        }
    }
    Ok(())
}

/// What distinguishes two files at the same path. (`std` does not expose the system's number of a
/// file.)
pub fn numbers(file: &Metadata) -> [u64; 3] {
    [
        file.file_size(),
        file.creation_time(),
        file.last_write_time(),
    ]
}

/// The length of the file. (The call that `std` uses also queries the disk, which takes longer.)
pub fn length(file: impl AsHandle) -> io::Result<u64> {
    let mut length = 0;
    let handle = file.as_handle().as_raw_handle();
    // SAFETY: Y43: the handle is open while `file` is borrowed, and the number is a local variable.
    match unsafe { GetFileSizeEx(handle, &raw mut length) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(length.cast_unsigned()),
    }
}

/// How many files this process may have open: the system has no such limit.
pub fn most_open() -> usize {
    usize::MAX
}

/// Identifies a memory file while it is open: by its handle, because a memory file has no other
/// number. This process alone uses it (`memory_file`), and no code duplicates the handle.
pub fn identity(file: impl AsHandle) -> io::Result<(u64, u64)> {
    Ok((0, file.as_handle().as_raw_handle().addr() as u64))
}

/// Makes a symbolic link. The system has one call for links to directories and one for links to
/// files, so this looks at the target. (If there is no target, this makes a link to a file.)
pub fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    let beside = link.parent().unwrap_or(Path::new(""));
    if beside.join(original).is_dir() {
        symlink_dir(original, link)
    } else {
        symlink_file(original, link)
    }
}
