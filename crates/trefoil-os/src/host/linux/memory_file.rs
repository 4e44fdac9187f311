//! Memory files: memory that has a descriptor and no name (`memfd_create`).
//!
//! A memory file may come from another process, so nothing is assumed of it: the kernel is asked
//! for its seals, which cannot be removed.
//!
//! - **H53** Pages of a mapping may be filled in advance, and given back: the first changes no
//!   content, the second makes it zero.
//!
//! Tests: below; `host::segment`, `process::pages::raw_arena`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::Advice;

use crate::sys::files::longest;
use crate::sys::refused::failed;

/// The seals that every sealed file has: no process may change its size.
const RESIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A memory file of `length` bytes, all zero, which may be sealed, and whose bytes cannot be
/// executed. No page is allocated before it is used. A length above this process's limit for files
/// is an error here, not a signal.
pub fn create(name: &str, length: usize) -> io::Result<OwnedFd> {
    if length as u64 > longest() {
        return Err(failed("ftruncate")(Errno::FBIG));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel that does not know the last flag. (Others require it, if they are configured
        // strictly.)
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
    .map_err(failed("memfd_create"))?;
    rustix::fs::ftruncate(&file, length as u64).map_err(failed("ftruncate"))?;
    Ok(file)
}

/// A memory file of `length` bytes, all zero, whose size cannot change any more.
pub fn create_sealed(name: &str, length: usize) -> io::Result<OwnedFd> {
    let file = create(name, length)?;
    rustix::fs::fcntl_add_seals(&file, RESIZE | SealFlags::SEAL)?;
    Ok(file)
}

/// A memory file of `length` bytes, all zero, which can grow but not shrink.
pub(crate) fn create_growing(name: &str, length: usize) -> io::Result<OwnedFd> {
    let file = create(name, length)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

/// A memory file of `length` bytes, all zero, whose pages are all allocated.
pub(crate) fn create_reserved(name: &str, length: usize) -> io::Result<OwnedFd> {
    let file = create(name, length)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length as u64)?;
    rustix::fs::fcntl_add_seals(&file, RESIZE | SealFlags::SEAL)?;
    Ok(file)
}

/// Seals the file: its content never changes from now on.
pub(crate) fn seal(file: impl AsFd) -> io::Result<()> {
    let seals = RESIZE | SealFlags::WRITE | SealFlags::SEAL;
    Ok(rustix::fs::fcntl_add_seals(file, seals)?)
}

/// `Ok` if the file cannot become shorter and, if `fixed`, its bytes cannot change; otherwise the
/// reason.
pub fn check(file: BorrowedFd<'_>, fixed: bool) -> Result<(), &'static str> {
    let seals = rustix::fs::fcntl_get_seals(file).map_err(|_| "is not a memory file")?;
    if !seals.contains(SealFlags::SHRINK) {
        return Err("can be resized");
    }
    if fixed && !seals.contains(SealFlags::WRITE) {
        return Err("can be written to");
    }
    Ok(())
}

/// Opens the file once more, for reading only.
pub fn reader(file: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Allocates the pages from `start` on; an error if there is no memory for them.
///
/// # Safety
/// H53: the bytes are whole pages of a mapping of such a file.
pub unsafe fn populate(start: *mut u8, length: usize) -> io::Result<()> {
    // SAFETY: H53: the caller's promise.
    Ok(unsafe { rustix::mm::madvise(start.cast(), length, Advice::LinuxPopulateWrite) }?)
}

/// Gives the pages from `start` on back to the system.
///
/// # Safety
/// H53: the bytes are whole pages of a mapping of such a file, and their content is not needed any
/// more.
pub unsafe fn give_back(start: *mut u8, length: usize) {
    // SAFETY: H53: the caller's promise.
    let _ = unsafe { rustix::mm::madvise(start.cast(), length, Advice::LinuxRemove) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::host::mapping::{Access, Mapping};

    #[test]
    fn what_can_shrink_is_refused() {
        let file = create("x", 4096).unwrap();
        let map = |range| Mapping::new(file.as_fd(), range, Access::Write);
        assert!(map(0..4096).is_err(), "it can shrink");
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        assert!(map(0..4096).is_ok());
        assert!(rustix::fs::ftruncate(&file, 0).is_err());
        let (pipe, _other) = io::pipe().unwrap();
        assert!(Mapping::new(pipe.as_fd(), 0..8, Access::Read).is_err());
    }
}
