//! A mapped range of a memory file whose size does not change: a view of a section of it.
//!
//! Y22 and Y23 hold as `src/sys/unix/mapping.rs` declares them.
//!
//! - **Y74** A section is made of a file that is open, closed once, and stays as long as a view of
//!   it is there.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::NonNull;

use windows_sys::Win32::System::Memory::{
    CreateFileMappingW, FILE_MAP_READ, FILE_MAP_WRITE, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile,
    PAGE_READONLY, PAGE_READWRITE, UnmapViewOfFile,
};

use super::descriptor::BorrowedFile;
use super::memory_file;
use crate::loom::atomic::AtomicU64;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// All see what is written.
    Write,
    /// What others write is seen.
    Read,
    /// For a file that does not change.
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
        let size = memory_file::length(file)?;
        let fits = range.end <= size && range.len() <= isize::MAX as usize;
        if range.is_empty() || !fits {
            return Err(refused("has an impossible size"));
        }
        if !range.start.is_multiple_of(memory_file::page_size()) {
            return Err(refused("is to be used from the middle of a page"));
        }
        let (protection, rights) = match access {
            Access::Write => (PAGE_READWRITE, FILE_MAP_READ | FILE_MAP_WRITE),
            Access::Read | Access::Fixed => (PAGE_READONLY, FILE_MAP_READ),
        };
        let null = std::ptr::null();
        // SAFETY: Y74: all of the file, without a name.
        let section = unsafe {
            CreateFileMappingW(
                file.as_raw_handle(),
                null,
                protection,
                0,
                0,
                std::ptr::null(),
            )
        };
        if section.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: Y74: it was made just now.
        let section = unsafe { OwnedHandle::from_raw_handle(section) };
        let (high, low) = ((range.start as u64 >> 32) as u32, range.start as u32);
        // SAFETY: Y22: a fresh mapping, at an address that the system chooses, aliases no other
        // memory of this process.
        let view =
            unsafe { MapViewOfFile(section.as_raw_handle(), rights, high, low, range.len()) };
        let start = NonNull::new(view.Value.cast()).ok_or_else(io::Error::last_os_error)?;
        let length = range.len();
        Ok(Self { start, length })
    }

    /// The words that hold the `length` bytes at `offset`, whatever is in them; `None` if these are
    /// not in the mapping.
    #[inline]
    pub(crate) fn words(&self, offset: usize, length: usize) -> Option<&[AtomicU64]> {
        let end = offset.checked_add(length)?.checked_next_multiple_of(8)?;
        if end > self.length || !offset.is_multiple_of(8) {
            return None;
        }
        let start = self.at(offset).cast();
        // SAFETY: Y22, Y23: inside of the mapping, aligned, and atomics only.
        Some(unsafe { std::slice::from_raw_parts(start, (end - offset) / 8) })
    }

    /// Where the byte at `offset` is.
    #[inline]
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.length);
        // SAFETY: Y22: inside of the mapping, or at its end.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// How many bytes there are: at least one.
    #[inline]
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let view = MEMORY_MAPPED_VIEW_ADDRESS {
            Value: self.start.as_ptr().cast(),
        };
        // SAFETY: Y22: this is our mapping, and what borrowed from it is gone.
        unsafe { UnmapViewOfFile(view) };
    }
}

/// An error about a file.
fn refused(what: &str) -> io::Error {
    let words = format!("a file was given as shared memory that {what}");
    io::Error::new(io::ErrorKind::InvalidData, words)
}
