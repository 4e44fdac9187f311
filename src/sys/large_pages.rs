//! Large pages for large buffers.
//!
//! **Job.** A buffer of many megabytes that is new costs more in page faults, one for every four kibibytes,
//! than in copying what goes into it. Where the kernel gives large pages to who asks for them
//! (Linux: `madvise`), this asks, before the first byte is written. Whoever cuts up large pages himself gets blocks of that size
//! and alignment.
//!
//! - **Y75** The range that is advised consists of whole pages of memory that a vector owns and that the vector is
//!   borrowed for mutably, or that was mapped here; the advice changes neither content nor protection.
//! - **Y77** What is mapped here was free before, and is its taker's until he gives it back; nothing else is unmapped.
//!
//! **Rejected.** Asking for every buffer: a page of two megabytes for a buffer of one wastes the other. A pool of
//! buffers: it would keep what the program may need.
//!
//! Tests: below.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, mmap_anonymous, munmap};

/// What [`map`] gives: the large page of the usual machines.
pub(crate) const BLOCK: usize = 2 << 20;

/// What is smaller has no use for a large page.
const LARGE: usize = 4 << 20;

/// Asks for large pages behind the room that `buffer` has left, if that is much.
#[inline]
pub(crate) fn advise<T>(buffer: &mut Vec<T>) {
    let room = buffer.spare_capacity_mut();
    if size_of_val(room) >= LARGE {
        whole_pages(room.as_mut_ptr().cast(), size_of_val(room));
    }
}

/// A block of [`BLOCK`] bytes from the kernel, aligned to as many, all zero, with a large page behind it if there is
/// one. It is the caller's, until he gives it to [`unmap`].
pub(crate) fn map() -> Option<NonNull<u8>> {
    // Newer kernels align what is as long as a large page.
    let first = anonymous(BLOCK)?;
    let start = if first.addr().get() % BLOCK == 0 {
        first
    } else {
        // SAFETY: Y77: it is ours, and not used.
        unsafe { unmap_range(first, BLOCK) };
        aligned()?
    };
    whole_pages(start.as_ptr(), BLOCK);
    Some(start)
}

/// From twice as much.
fn aligned() -> Option<NonNull<u8>> {
    let twice = anonymous(2 * BLOCK)?;
    let skip = twice.addr().get().wrapping_neg() % BLOCK;
    // SAFETY: Y77: inside of what was mapped.
    let start = unsafe { twice.byte_add(skip) };
    // SAFETY: Y77: as above, or just behind it.
    let rest = unsafe { start.byte_add(BLOCK) };
    // SAFETY: Y77: what is before the block is ours, and not used.
    unsafe { unmap_range(twice, skip) };
    // SAFETY: Y77: as above, what is behind it.
    unsafe { unmap_range(rest, BLOCK - skip) };
    Some(start)
}

fn anonymous(length: usize) -> Option<NonNull<u8>> {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: Y77: the kernel chooses a place where nothing is.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), length, rights, MapFlags::PRIVATE) };
    NonNull::new(start.ok()?.cast())
}

/// # Safety
/// Y77: whole pages that the caller has mapped, or none, which nobody uses any more.
unsafe fn unmap_range(start: NonNull<u8>, length: usize) {
    if length > 0 {
        // SAFETY: Y77: whole pages that the caller has mapped, and which nobody uses (the caller's promise).
        let unmapped = unsafe { munmap(start.as_ptr().cast(), length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// Gives a block back.
///
/// # Safety
/// Y77: it came from [`map`], and nobody uses it any more.
pub(crate) unsafe fn unmap(block: NonNull<u8>) {
    // SAFETY: Y77: `map` has mapped so many bytes there, and nobody uses them (the caller's promise).
    unsafe { unmap_range(block, BLOCK) };
}

/// Advises the whole pages among the `length` bytes from `start` on, which somebody owns.
#[cold]
fn whole_pages(start: *mut u8, length: usize) {
    let page = rustix::param::page_size();
    let skip = start.addr().wrapping_neg() % page;
    let pages = length.saturating_sub(skip) / page * page;
    let first = start.wrapping_add(skip).cast();
    // SAFETY: Y75: this advice changes neither content nor protection of whatever is mapped there, and of what is not the kernel says so. One
    // that knows no large pages refuses.
    let _ = unsafe { rustix::mm::madvise(first, pages, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_all_zero() {
        let blocks: Vec<_> = (0..3).map(|_| map().unwrap()).chain(aligned()).collect();
        assert_eq!(blocks.len(), 4);
        for block in &blocks {
            assert_eq!(block.addr().get() % BLOCK, 0);
            // SAFETY: Y77: mapped, ours, and all zero.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), BLOCK) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
        }
        for block in blocks {
            // SAFETY: Y77: mapped above, and not used any more.
            unsafe { unmap(block) };
        }
    }

    #[test]
    fn advice_changes_nothing() {
        for size in [0, 1, LARGE - 1, LARGE, 3 * LARGE + 77] {
            let mut buffer = Vec::<u8>::with_capacity(size + 3);
            buffer.extend_from_slice(b"abc");
            advise(&mut buffer);
            assert_eq!(buffer, b"abc");
            buffer.resize(size + 3, 7);
            advise(&mut buffer);
            assert_eq!(&buffer[..3], b"abc");
            assert!(buffer[3..].iter().all(|byte| *byte == 7));
        }
        let mut words = Vec::<u64>::with_capacity(LARGE);
        advise(&mut words);
        words.resize(LARGE, 1);
        assert_eq!(words.iter().sum::<u64>(), LARGE as u64);
    }
}
