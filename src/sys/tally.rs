//! A few counters that several processes share, at the beginning of a file that grows.
//!
//! **Job.** A [`Tally`] is a memfd, of which the first page is mapped and holds counters; what lies
//! behind that page is the caller's, by `pread` and `pwrite`. The file may grow and never shrinks.
//!
//! **Invariants.**
//! - **Y70** A tally's mapping is the first page of a memfd that is sealed against shrinking, so the page is
//!   there as long as the mapping, which lasts as long as the `Tally`. Seals and size of a descriptor
//!   from elsewhere are asked from the kernel before it is mapped.
//! - **Y71** The page is only accessed as atomics: other processes write to it at any time.
//!
//! Tests: below; `tests/process/channel.rs`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use crate::loom::atomic::AtomicU64;

/// Where the caller's part of the file begins.
pub(crate) const PAGE: usize = 4096;

/// How many counters there are: as many as fit.
pub(crate) const WORDS: usize = PAGE / 8;

/// The mapped page.
#[derive(Debug)]
pub(crate) struct Tally {
    start: NonNull<u8>,
}

// SAFETY: Y70: the mapping belongs to the process, not to a thread.
unsafe impl Send for Tally {}
// SAFETY: Y71: it is accessed as atomics only.
unsafe impl Sync for Tally {}

impl Tally {
    /// New counters, all zero, and the file that they are in.
    pub(crate) fn new() -> io::Result<(OwnedFd, Self)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("trefoil-channel", flags)?;
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, PAGE as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
        let tally = Self::open(file.as_fd())?;
        Ok((file, tally))
    }

    /// The counters in a file that may come from anywhere.
    pub(crate) fn open(file: BorrowedFd<'_>) -> io::Result<Self> {
        let refused = || io::Error::new(io::ErrorKind::InvalidData, "no file of a channel");
        let seals = rustix::fs::fcntl_get_seals(file).map_err(|_| refused())?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(refused());
        }
        // After the seal: it does not become less.
        if rustix::fs::fstat(file)?.st_size < PAGE as i64 {
            return Err(refused());
        }
        let (hint, protection) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: Y70: a fresh mapping, at an address that the kernel chooses, aliases no
        // other memory of this process.
        let start = unsafe { rustix::mm::mmap(hint, PAGE, protection, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start })
    }

    pub(crate) fn words(&self) -> &[AtomicU64; WORDS] {
        let words = self.start.cast::<[AtomicU64; WORDS]>();
        // SAFETY: Y70, Y71: the page is large enough, aligned, lasts as long as the
        // borrow, and every value of its bytes is one of these types'.
        unsafe { words.as_ref() }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        // SAFETY: Y70: this is our mapping, and what borrowed from it is gone.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), PAGE) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::loom::atomic::Ordering;

    #[test]
    fn two_mappings_have_the_same_counters() {
        let (file, one) = Tally::new().unwrap();
        let two = Tally::open(file.as_fd()).unwrap();
        one.words()[WORDS - 1].store(7, Ordering::Relaxed);
        assert_eq!(two.words()[WORDS - 1].load(Ordering::Relaxed), 7);
        assert!(rustix::fs::ftruncate(&file, 0).is_err());
        assert!(rustix::fs::ftruncate(&file, 1 << 40).is_ok());
    }

    #[test]
    fn other_files_are_refused() {
        let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("x", plain).unwrap();
        assert!(Tally::open(file.as_fd()).is_err());
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        assert!(Tally::open(file.as_fd()).is_err(), "too small");
        assert!(Tally::open(io::pipe().unwrap().0.as_fd()).is_err());
    }
}
