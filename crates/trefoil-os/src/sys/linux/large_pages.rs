//! Large pages for large buffers.
//!
//! **Job.** Filling a new buffer of many megabytes costs more for page faults, one for every four
//! kibibytes, than for copying. Where the kernel gives large pages on request (Linux: `madvise`),
//! this requests them before the first byte is written.
//!
//! - **Y79** The range that is advised consists of whole pages of memory that a vector owns and
//!   that the vector is borrowed for mutably; the advice changes neither content nor protection.
//!
//! **Rejected.** Requesting them for every buffer: a page of two megabytes for a buffer of one
//! wastes the other. A pool of buffers: it would keep memory that the program may need.
//!
//! Tests: below.
#![allow(unsafe_code)]

use crate::sys::sysconf::page_size;

/// Buffers smaller than this get no large pages.
const LARGE: usize = 4 << 20;

/// Requests large pages for the spare capacity of `buffer`, if that is large.
#[inline]
pub fn advise<T>(buffer: &mut Vec<T>) {
    let room = buffer.spare_capacity_mut();
    if size_of_val(room) >= LARGE {
        whole_pages(room.as_mut_ptr().cast(), size_of_val(room));
    }
}

/// Advises the whole pages among the `length` bytes from `start` on, which a vector owns.
#[cold]
fn whole_pages(start: *mut u8, length: usize) {
    let page = page_size();
    let skip = start.addr().wrapping_neg() % page;
    let pages = length.saturating_sub(skip) / page * page;
    let first = start.wrapping_add(skip).cast();
    // SAFETY: Y79: this advice changes neither content nor protection of whatever is mapped there;
    // for what is not mapped the kernel returns an error. A kernel without large pages refuses.
    let _ = unsafe { libc::madvise(first, pages, libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

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
