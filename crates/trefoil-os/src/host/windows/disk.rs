//! Files that no other code can open, and the room for them.
//!
//! - **H42** `GetDiskFreeSpaceEx` reads a name that ends with a zero, and fills in local variables.
//!
//! Tests: `host::memory_file`, under Wine.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE, GetDiskFreeSpaceExW,
};

/// A new file that is deleted when it is closed.
pub(crate) fn nameless(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    options.share_mode(0);
    options.attributes(FILE_ATTRIBUTE_TEMPORARY);
    options.custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    options.open(path)
}

/// Checks this process's limit on the length of a file: this system has none.
#[allow(clippy::unnecessary_wraps)] // on Unix there is one
pub(crate) fn may_be(_length: usize) -> io::Result<()> {
    Ok(())
}

/// How many bytes the disk of this folder has free.
pub fn free(folder: &Path) -> io::Result<u64> {
    let name: Vec<u16> = folder.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0;
    // SAFETY: H42: the name ends with a zero, and the number is a local variable.
    match unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, null_mut(), null_mut()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(free),
    }
}

/// The path of this program, which the system gives from the root.
#[allow(clippy::unnecessary_wraps)] // on Unix it may fail
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    Ok(path.to_owned())
}
