//! Which pages of a channel's file belong to which item.
//!
//! Every sender has the first page of the file mapped. It holds the number of pages that were ever
//! handed out, and one atomic addition to it hands out the next ones. So no two items get the same
//! page, not even one after the other. (Pages that were freed are not used again. There are as many
//! as are sent in centuries, and the file has memory only for those in use.)
//!
//! **Rejected.** The position of the file, which all ends share: the kernel does not move it
//! atomically, and two senders got the same pages.
//!
//! Tests: below; `process::channel::pipe`.

use std::io;

use crate::loom::atomic::Ordering;
use crate::sys::descriptor::AsFile;
use trefoil_os::host::mapping::{Access, Mapping};

/// Large items begin at multiples of this in the file.
pub(crate) const PAGE: usize = 4096;

/// The numbers of pages are less than this, so that they fit into six bytes of a record.
const MOST_PAGES: u64 = 1 << 48;

/// The count of the pages that were handed out, in the file's first page.
#[derive(Debug)]
pub(crate) struct PageNumbers(Mapping);

impl PageNumbers {
    /// Maps the count in `file`. An error if that is not the file of a channel.
    pub(crate) fn of(file: &impl AsFile) -> io::Result<Self> {
        Mapping::new(file.as_file(), 0..PAGE, Access::Write).map(Self)
    }

    /// Room for `length` bytes that no other item of any process gets: where it begins. `None`: all
    /// pages were handed out, or a process has written to the count.
    pub(crate) fn reserve(&self, length: usize) -> Option<u64> {
        let pages = length.div_ceil(PAGE) as u64;
        let count = &self.0.words(0, 8)?[0];
        // The addition is atomic, and nothing else is published by it.
        let before = count.fetch_add(pages, Ordering::Relaxed);
        let first = before.checked_add(1)?; // after the first page
        (first < MOST_PAGES).then_some(first * PAGE as u64)
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, trefoil_port))))]
mod tests {
    use super::*;
    use trefoil_os::host::{channel_files, memory_file};

    #[test]
    fn rooms_follow_one_another_through_all_mappings() {
        let file = channel_files::file(PAGE).unwrap();
        let (one, two) = (
            PageNumbers::of(&file).unwrap(),
            PageNumbers::of(&file).unwrap(),
        );
        let page = PAGE as u64;
        assert_eq!(one.reserve(1), Some(page));
        assert_eq!(two.reserve(PAGE + 1), Some(2 * page));
        assert_eq!(one.reserve(PAGE), Some(4 * page));
        assert_eq!(two.reserve(1), Some(5 * page));
        two.0.words(0, 8).unwrap()[0].store(MOST_PAGES - 2, Ordering::Relaxed);
        assert_eq!(one.reserve(1), Some((MOST_PAGES - 1) * page));
        assert_eq!(one.reserve(1), None);
        two.0.words(0, 8).unwrap()[0].store(u64::MAX, Ordering::Relaxed);
        assert_eq!(one.reserve(1), None);
    }

    #[test]
    fn a_file_that_can_shrink_is_refused() {
        let file = memory_file::create("x", PAGE).unwrap();
        assert!(PageNumbers::of(&file).is_err());
    }
}
