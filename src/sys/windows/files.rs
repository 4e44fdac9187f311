//! Calls on files that `std` has for each system alone.
//!
//! - **Y43** A handle that the system is asked about is open: its file is borrowed meanwhile.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::windows::fs::{FileExt, symlink_dir, symlink_file};
use std::os::windows::io::{AsHandle, AsRawHandle};
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::GetFileSizeEx;

/// Reads what is there at this position of the file's.
pub(crate) fn read(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    file.read(bytes)
}

/// Writes all of it at `offset`.
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => (bytes, offset) = (&bytes[count..], offset + count as u64),
        }
    }
    Ok(())
}

/// How long the file is. (What `std` asks for tells of the disk, too, which takes longer.)
pub(crate) fn length(file: impl AsHandle) -> io::Result<u64> {
    let mut length = 0;
    let handle = file.as_handle().as_raw_handle();
    // SAFETY: Y43: the handle is open while `file` is borrowed, and the number is in this frame.
    match unsafe { GetFileSizeEx(handle, &raw mut length) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(length.cast_unsigned()),
    }
}

/// Identifies a memory file, as long as it is open: by its handle, for it has no other. It is this
/// process's own (`memory_file`), and nothing duplicates the handle.
pub(crate) fn identity(file: impl AsHandle) -> io::Result<(u64, u64)> {
    Ok((0, file.as_handle().as_raw_handle().addr() as u64))
}

/// To a directory or a file, whichever is there: the system wants to know. (To nothing: as if to a
/// file.)
pub(crate) fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    let beside = link.parent().unwrap_or(Path::new(""));
    if beside.join(original).is_dir() {
        symlink_dir(original, link)
    } else {
        symlink_file(original, link)
    }
}

/// There are no such rights: nothing asks for them.
pub(crate) fn set_mode(_builder: &mut DirBuilder, _mode: u32) {}
