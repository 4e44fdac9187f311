//! Maps a part of a file: a section object of the file, and a view of the section.
//!
//! - **H74** A section is made of an open file, its handle is closed once, and the section lasts as
//!   long as a view of it. `GetSystemInfo` fills in a local variable.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::OnceLock;

use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READONLY, PAGE_READWRITE, UnmapViewOfFile,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use crate::host::mapping::Access;
use crate::sys::descriptor::BorrowedFile;

/// A mapping may begin at multiples of this, which is larger than a page on this system.
pub fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: H74: the structure is a local variable.
        unsafe { GetSystemInfo(&raw mut info) };
        info.dwAllocationGranularity as usize
    })
}

/// Maps the `range` of `file` at a new address. The view lasts until it is [closed](close).
pub fn open(file: BorrowedFile<'_>, range: Range<usize>, access: Access) -> io::Result<*mut u8> {
    let (protection, rights) = match access {
        Access::Write => (PAGE_READWRITE, FILE_MAP_READ | FILE_MAP_WRITE),
        Access::Read | Access::Fixed => (PAGE_READONLY, FILE_MAP_READ),
    };
    let file = file.as_raw_handle();
    // SAFETY: H74: the section covers all of the file and has no name.
    let section = unsafe { CreateFileMappingW(file, null(), protection, 0, 0, null()) };
    if section.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: H74: the section was made just now, and its handle is closed at the end of this
    // function.
    let section = unsafe { OwnedHandle::from_raw_handle(section) };
    let (high, low) = ((range.start as u64 >> 32) as u32, range.start as u32);
    // SAFETY: H22: the system chooses the address, so the view aliases no other memory of this
    // process.
    let view = unsafe { MapViewOfFile(section.as_raw_handle(), rights, high, low, range.len()) };
    if view.Value.is_null() {
        Err(io::Error::last_os_error())
    } else {
        Ok(view.Value.cast())
    }
}

/// Ends a view.
///
/// # Safety
/// H22: `start` comes from [`open`], and no code uses the view any more.
pub unsafe fn close(start: *mut u8, _length: usize) {
    let view = MEMORY_MAPPED_VIEW_ADDRESS {
        Value: start.cast(),
    };
    // SAFETY: H22: the caller's promise.
    unsafe { UnmapViewOfFile(view) };
}
