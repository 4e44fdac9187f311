//! A mapped range of a memory file whose size does not change; or memory of this process alone,
//! for a worker that shares none.
//!
//! **Job.** All memory that processes share is mapped here: the ledger of a worker, the memory in
//! which large arrays are lent, shared numbers. Before a file is mapped, `memory_file` is asked
//! whether it can still shrink or change, so that an access through a mapping never finds the
//! memory gone (`SIGBUS`).
//!
//! **Invariants.**
//! - **H22** A mapping has `length` bytes, at least one. It begins at a page's beginning and is
//!   within its file, which cannot shrink; or it is this process's own memory, aligned as the `T`
//!   of [`Mapping::own`] requires. It lasts as long as the `Mapping`.
//! - **H23** Memory that another process may write to is accessed as atomics ([`Mapping::words`]),
//!   or copied by [`copy`]: by an instruction that the compiler does not look into (x86-64), or
//!   word by word as atomics. Either is defined whatever others do there meanwhile.
//!
//! `view` has each system's calls.
//!
//! Tests: below; `host::memory_file`, `host::segment`, `process::pages::raw_arena`,
//! `process::pages::raw_ledger`.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use crate::host::{memory_file, view};
use crate::loom::atomic::AtomicU64;
#[cfg(any(not(target_arch = "x86_64"), miri, loom))]
use crate::loom::atomic::Ordering;
use crate::sys::descriptor::BorrowedFile;
use crate::sys::files;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For writing; all processes see what is written.
    Write,
    /// For reading what other processes write.
    Read,
    /// For reading a file that is sealed against writing. (It is mapped privately, because kernels
    /// before 6.7 take a shared mapping of it for one that could become writable, and refuse it.)
    Fixed,
}

/// A mapped range of a memory file, or memory that this process alone has.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
    /// The layout of the allocation, if the memory is this process's own.
    own: Option<Layout>,
}

// SAFETY: H22: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: H23: a shared reference gives access to atomics; each use of the address has an argument
// of its own.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the `range` of `file`, which must begin at a page's beginning.
    pub fn new(file: BorrowedFile<'_>, range: Range<usize>, access: Access) -> io::Result<Self> {
        memory_file::check(file, access == Access::Fixed).map_err(refused)?;
        // This is after the check, so the file cannot shrink any more.
        let size = length_of(file)?;
        let fits = range.end <= size && range.len() <= isize::MAX as usize;
        if range.is_empty() || !fits {
            return Err(refused("has an impossible size"));
        }
        // On a 32-bit machine the kernel is passed only the number of the page.
        if !range.start.is_multiple_of(view::page_size()) {
            return Err(refused("would be mapped from the middle of a page"));
        }
        let length = range.len();
        let start = NonNull::new(view::open(file, range, access)?);
        let start = start.ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            length,
            own: None,
        })
    }

    /// Memory for a `T` that no other process sees, all zero.
    pub fn own<T>() -> Self {
        const { assert!(size_of::<T>() > 0) };
        let layout = Layout::new::<T>();
        // SAFETY: H22: the layout has one byte at least.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self {
            start: start.unwrap_or_else(|| handle_alloc_error(layout)),
            length: layout.size(),
            own: Some(layout),
        }
    }

    /// The words that contain the `length` bytes at `offset`; `None` if these are not in the
    /// mapping.
    #[inline]
    pub fn words(&self, offset: usize, length: usize) -> Option<&[AtomicU64]> {
        let end = offset.checked_add(length)?.checked_next_multiple_of(8)?;
        if end > self.length || !offset.is_multiple_of(8) {
            return None;
        }
        let start = self.at(offset).cast();
        // SAFETY: H22, H23: inside the mapping, aligned, and atomics only.
        Some(unsafe { std::slice::from_raw_parts(start, (end - offset) / 8) })
    }

    /// The address of the byte at `offset`.
    #[inline]
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.length);
        // SAFETY: H22: inside the mapping, or at its end.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The length in bytes: at least one.
    #[inline]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = self.start.as_ptr();
        match self.own {
            // SAFETY: H22: `own` has allocated it with this layout, and no borrow of it is left.
            Some(layout) => unsafe { dealloc(start, layout) },
            // SAFETY: H22: this is a mapping of ours, and no borrow of it is left.
            None => unsafe { view::close(start, self.length) },
        }
    }
}

/// The length of a file in bytes.
pub(crate) fn length_of(file: BorrowedFile<'_>) -> io::Result<usize> {
    Ok(usize::try_from(files::length(file)?).unwrap_or(0))
}

/// An error about a file.
pub fn refused(what: &str) -> io::Error {
    let message = format!("a file that came as shared memory {what}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Copies the first `length` bytes of `words` to `start`.
///
/// # Safety
/// `words` has at least `length` bytes, and at `start` is as much room, which no other code knows.
#[cfg(all(target_arch = "x86_64", not(miri), not(loom)))]
#[inline]
pub unsafe fn copy(words: &[AtomicU64], length: usize, start: *mut u8) {
    // SAFETY: H23: it reads and writes as many bytes as the caller says that there are, and as the
    // compiler knows nothing of how, others may write to `words` meanwhile.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") length => _,
            inout("rsi") words.as_ptr() => _,
            inout("rdi") start => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies the first `length` bytes of `words` to `start`.
///
/// # Safety
/// `words` has at least `length` bytes, and at `start` is as much room, which no other code knows.
#[cfg(any(not(target_arch = "x86_64"), miri, loom))]
#[inline]
pub unsafe fn copy(words: &[AtomicU64], length: usize, start: *mut u8) {
    for (at, word) in (0..length).step_by(8).zip(words) {
        let word = word.load(Ordering::Relaxed).to_ne_bytes();
        // SAFETY: H23: `at` is less than `length`.
        let place = unsafe { start.add(at) };
        let count = (length - at).min(8);
        // SAFETY: H23: the room has at least this many bytes left, and is not part of `word`.
        unsafe { std::ptr::copy_nonoverlapping(word.as_ptr(), place, count) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::host::memory_file::create_sealed;
    use crate::loom::atomic::Ordering;
    use crate::sys::descriptor::AsFile;

    #[test]
    fn own_memory_is_zero_and_aligned() {
        #[repr(C, align(64))]
        struct Line([u8; 100]);
        let own = Mapping::own::<Line>();
        assert_eq!((own.length(), own.at(0).addr() % 64), (128, 0));
        let words = own.words(0, 128).unwrap();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[15].store(7, Ordering::Relaxed);
        assert_eq!(own.words(120, 8).unwrap()[0].load(Ordering::Relaxed), 7);
        assert!(own.words(128, 8).is_none());
    }

    #[test]
    fn two_mappings_have_the_same_words() {
        let page = view::page_size();
        let file = create_sealed("x", 3 * page).unwrap();
        let one = Mapping::new(file.as_file(), 0..3 * page, Access::Write).unwrap();
        let two = Mapping::new(file.as_file(), page..2 * page, Access::Read).unwrap();
        one.words(2 * page - 8, 8).unwrap()[0].store(7, Ordering::Relaxed);
        assert_eq!(
            two.words(page - 8, 1).unwrap()[0].load(Ordering::Relaxed),
            7
        );
        for (offset, length) in [(4, 1), (0, page + 1), (page, 1), (usize::MAX & !7, 1)] {
            assert!(two.words(offset, length).is_none(), "{offset} {length}");
        }
        assert_eq!(two.words(0, page).unwrap().len(), page / 8);
        let map = |range| Mapping::new(file.as_file(), range, Access::Write);
        for range in [
            0..0,
            0..3 * page + 1,
            1..9,
            3 * page..3 * page + 1,
            page..usize::MAX,
        ] {
            assert!(map(range.clone()).is_err(), "{range:?}");
        }
    }
}
