//! Calls on files that `std` has for each system alone.
//!
//! A call at an offset moves the position of its open file here. So it is made on another open file
//! of the same file.
//!
//! - **Y43** `ReOpenFile` takes a file's handle that is open, and gives a new one, which has no
//!   other owner.
#![allow(unsafe_code)]

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::windows::fs::{FileExt, symlink_dir, symlink_file};
use std::os::windows::io::{AsHandle, AsRawHandle, FromRawHandle};
use std::path::Path;

use windows_sys::Win32::Foundation::{GENERIC_READ, GENERIC_WRITE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFileInformationByHandle, ReOpenFile,
};

/// Reads what is there at this position of the file's.
pub(crate) fn read(mut file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    file.read(bytes)
}

/// Reads what is there at `offset`, and leaves the position as it is.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    open_again(file, GENERIC_READ)?.seek_read(bytes, offset)
}

/// Writes at `offset`, and leaves the position as it is.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    open_again(file, GENERIC_WRITE)?.seek_write(bytes, offset)
}

fn open_again(file: &File, access: u32) -> io::Result<File> {
    let others = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: Y43: the handle is open while `file` is borrowed.
    let handle = unsafe { ReOpenFile(file.as_raw_handle(), access, others, 0) };
    if handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: Y43: it was made just now.
    Ok(unsafe { File::from_raw_handle(handle) })
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

/// What names the file behind a handle, as long as it is open anywhere.
pub(crate) fn identity(file: impl AsHandle) -> io::Result<(u64, u64)> {
    let mut info = BY_HANDLE_FILE_INFORMATION::default();
    let handle = file.as_handle().as_raw_handle();
    // SAFETY: Y43: the handle is open while `file` is borrowed, and what is filled in is in this
    // frame.
    if unsafe { GetFileInformationByHandle(handle, &raw mut info) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let number = u64::from(info.nFileIndexHigh) << 32 | u64::from(info.nFileIndexLow);
    Ok((info.dwVolumeSerialNumber.into(), number))
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
