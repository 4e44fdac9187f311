//! The call that maps a file, and the one that ends that.
//!
//! Tests: `sys::mapping`.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::mm::{MapFlags, ProtFlags};

use crate::sys::mapping::Access;

/// Where the `range` of `file` is now: a fresh mapping. It lasts until it is [closed](close).
pub(crate) fn open(
    file: BorrowedFd<'_>,
    range: Range<usize>,
    access: Access,
) -> io::Result<*mut u8> {
    // (Mapped privately what is sealed: kernels before 6.7 take a shared mapping of such a file for
    // one that could become writable, and refuse it.)
    let (protection, flags) = match access {
        Access::Write => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
        Access::Read => (ProtFlags::READ, MapFlags::SHARED),
        Access::Fixed => (ProtFlags::READ, MapFlags::PRIVATE),
    };
    let (hint, length, from) = (std::ptr::null_mut(), range.len(), range.start as u64);
    // SAFETY: Y22: at an address that the kernel chooses it aliases no other memory of this
    // process.
    let start = unsafe { rustix::mm::mmap(hint, length, protection, flags, file, from) }?;
    Ok(start.cast())
}

/// Ends a mapping.
///
/// # Safety
/// Y22: it is what [`open`] has given, of that length, and nobody uses it any more.
pub(crate) unsafe fn close(start: *mut u8, length: usize) {
    // SAFETY: Y22: the caller's promise.
    let _ = unsafe { rustix::mm::munmap(start.cast(), length) };
}
