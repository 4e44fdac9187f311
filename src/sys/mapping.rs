//! A mapped range of a memory file whose size does not change.
//!
//! **Job.** All memory that processes share is mapped here: the ledger of a worker, the memory in
//! which large arrays are lent, shared numbers. Before a file is mapped, `memory_file` is asked
//! whether it can still shrink or change, so that an access through a mapping never finds the
//! memory gone (`SIGBUS`).
//!
//! **Invariants.**
//! - **Y22** A mapping has `length` bytes, at least one, begins where a page does, and lies within
//!   its file, which cannot shrink. It lasts as long as the `Mapping`.
//! - **Y23** What another process may write to is accessed as atomics ([`Mapping::words`]), or
//!   copied by what the compiler does not look into: whatever is there then are some numbers.
//!
//! How each system maps is `view`.
//!
//! Tests: below; `sys::memory_file`, `sys::segment`, `sys::arena`, `sys::ledger`.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::loom::atomic::AtomicU64;
use crate::sys::descriptor::BorrowedFile;
use crate::sys::{memory_file, view};

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To write; all processes see what is written.
    Write,
    /// To read what others write.
    Read,
    /// To read a file that is sealed against writing. (It is mapped privately, because kernels
    /// before 6.7 refuse a shared mapping of such a file, as one that could become writable.)
    Fixed,
}

/// A mapped range of a memory file.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: Y22: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: Y23: a shared reference gives atomics; each use of the address has an argument of its
// own.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the `range` of `file`, which begins where a page does.
    pub(crate) fn new(
        file: BorrowedFile<'_>,
        range: Range<usize>,
        access: Access,
    ) -> io::Result<Self> {
        memory_file::check(file, access == Access::Fixed).map_err(refused)?;
        // After the check: it cannot shrink any more.
        let size = memory_file::length(file)?;
        let fits = range.end <= size && range.len() <= isize::MAX as usize;
        if range.is_empty() || !fits {
            return Err(refused("has an impossible size"));
        }
        // On a 32-bit machine only the number of the page is passed to the kernel.
        if !range.start.is_multiple_of(memory_file::page_size()) {
            return Err(refused("is to be used from the middle of a page"));
        }
        let length = range.len();
        let start = NonNull::new(view::open(file, range, access)?);
        let start = start.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The words that contain the `length` bytes at `offset`; `None` if these are not in the
    /// mapping.
    #[inline]
    pub(crate) fn words(&self, offset: usize, length: usize) -> Option<&[AtomicU64]> {
        let end = offset.checked_add(length)?.checked_next_multiple_of(8)?;
        if end > self.length || !offset.is_multiple_of(8) {
            return None;
        }
        let start = self.at(offset).cast();
        // SAFETY: Y22, Y23: inside the mapping, aligned, and atomics only.
        Some(unsafe { std::slice::from_raw_parts(start, (end - offset) / 8) })
    }

    /// The address of the byte at `offset`.
    #[inline]
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.length);
        // SAFETY: Y22: inside the mapping, or at its end.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The length in bytes: at least one.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Y22: this is our mapping, and what borrowed from it is gone.
        unsafe { view::close(self.start.as_ptr(), self.length) };
    }
}

/// An error about a file.
fn refused(what: &str) -> io::Error {
    let words = format!("a file was given as shared memory that {what}");
    io::Error::new(io::ErrorKind::InvalidData, words)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::loom::atomic::Ordering;
    use crate::sys::memory_file::create_sealed;

    #[test]
    fn two_mappings_have_the_same_words() {
        let file = create_sealed("x", 3 * 4096).unwrap();
        let one = Mapping::new(file.as_fd(), 0..3 * 4096, Access::Write).unwrap();
        let two = Mapping::new(file.as_fd(), 4096..2 * 4096, Access::Read).unwrap();
        one.words(2 * 4096 - 8, 8).unwrap()[0].store(7, Ordering::Relaxed);
        assert_eq!(
            two.words(4096 - 8, 1).unwrap()[0].load(Ordering::Relaxed),
            7
        );
        for (offset, length) in [(4, 1), (0, 4097), (4096, 1), (usize::MAX & !7, 1)] {
            assert!(two.words(offset, length).is_none(), "{offset} {length}");
        }
        assert_eq!(two.words(0, 4096).unwrap().len(), 512);
        let map = |range| Mapping::new(file.as_fd(), range, Access::Write);
        for range in [
            0..0,
            0..3 * 4096 + 1,
            1..9,
            3 * 4096..3 * 4096 + 1,
            4096..usize::MAX,
        ] {
            assert!(map(range.clone()).is_err(), "{range:?}");
        }
    }
}
