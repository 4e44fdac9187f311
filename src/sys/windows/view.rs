//! The calls that map a file: a section of it, and a view of that.
//!
//! - **Y74** A section is made of a file that is open, closed once, and stays as long as a view of
//!   it is there.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READONLY, PAGE_READWRITE, UnmapViewOfFile,
};

use super::descriptor::BorrowedFile;
use crate::sys::mapping::Access;

/// Where the `range` of `file` is now: a fresh view. It lasts until it is [closed](close).
pub(crate) fn open(
    file: BorrowedFile<'_>,
    range: Range<usize>,
    access: Access,
) -> io::Result<*mut u8> {
    let (protection, rights) = match access {
        Access::Write => (PAGE_READWRITE, FILE_MAP_READ | FILE_MAP_WRITE),
        Access::Read | Access::Fixed => (PAGE_READONLY, FILE_MAP_READ),
    };
    let file = file.as_raw_handle();
    // SAFETY: Y74: all of the file, without a name.
    let section = unsafe { CreateFileMappingW(file, null(), protection, 0, 0, null()) };
    if section.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: Y74: it was made just now, and is closed at the end of this.
    let section = unsafe { OwnedHandle::from_raw_handle(section) };
    let (high, low) = ((range.start as u64 >> 32) as u32, range.start as u32);
    // SAFETY: Y22: at an address that the system chooses it aliases no other memory of this
    // process.
    let view = unsafe { MapViewOfFile(section.as_raw_handle(), rights, high, low, range.len()) };
    match view.Value.is_null() {
        true => Err(io::Error::last_os_error()),
        false => Ok(view.Value.cast()),
    }
}

/// Ends a view.
///
/// # Safety
/// Y22: it is what [`open`] has given, and nobody uses it any more.
pub(crate) unsafe fn close(start: *mut u8, _length: usize) {
    let view = MEMORY_MAPPED_VIEW_ADDRESS {
        Value: start.cast(),
    };
    // SAFETY: Y22: the caller's promise.
    unsafe { UnmapViewOfFile(view) };
}
