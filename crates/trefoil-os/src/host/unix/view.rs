//! Maps a part of a file, and unmaps it.
//!
//! Tests: `host::mapping`.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::mm::{MapFlags, ProtFlags};

use crate::host::mapping::Access;
use crate::sys::refused::failed;

pub use crate::sys::sysconf::page_size;

/// Maps the `range` of `file` at a new address. The mapping lasts until it is [closed](close).
pub fn open(file: BorrowedFd<'_>, range: Range<usize>, access: Access) -> io::Result<*mut u8> {
    // (A sealed file is mapped privately, because kernels before 6.7 take a shared mapping of it
    // for one that could become writable, and refuse it.)
    let (protection, flags) = match access {
        Access::Write => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
        Access::Read => (ProtFlags::READ, MapFlags::SHARED),
        Access::Fixed => (ProtFlags::READ, MapFlags::PRIVATE),
    };
    let (hint, length, from) = (std::ptr::null_mut(), range.len(), range.start as u64);
    // SAFETY: H22: the kernel chooses the address, so the mapping aliases no other memory of this
    // process.
    let start = unsafe { rustix::mm::mmap(hint, length, protection, flags, file, from) };
    start.map(<*mut _>::cast).map_err(failed("mmap"))
}

/// Ends a mapping.
///
/// # Safety
/// H22: `start` comes from [`open`], with this length, and no code uses the mapping any more.
pub unsafe fn close(start: *mut u8, length: usize) {
    // SAFETY: H22: the caller's promise.
    let _ = unsafe { rustix::mm::munmap(start.cast(), length) };
}
