//! Memory that one process writes and related processes read, given out in reusable blocks.
//!
//! **Job.** A large argument that goes through a socket is copied into the kernel and out of it
//! again, and new memory for it costs a page fault for every few kibibytes. Here the sender copies
//! it into a [`Block`] of its [`Arena`], which the receiver has mapped, and the receiver copies it
//! from there to its destination. The pages stay for the next argument. Large results go back in
//! the same way.
//!
//! **Protocol.**
//! 1. An `Arena` is sparse memory in a file of its own, of [`CAPACITY`] bytes, or a part of another
//!    file ([`Arena::over`]). Receivers get a descriptor that is open for reading only, so no other
//!    process maps it writable by accident. (On purpose, a process can open it again by its name in
//!    `/proc`.)
//! 2. [`Arena::lend`] takes room after the block that was taken last, wrapping around within the
//!    first `TURN` bytes, or else the first gap that is large enough. It reserves the pages that
//!    were never used before (if the machine has no memory left, that is an error here, not a
//!    signal later), and fills the block. Dropping the block frees its room. When no block is left,
//!    the memory beyond the first [`KEPT`] bytes is given back to the system.
//! 3. The sender keeps a block until the receiver has reported that it has copied it.
//! 4. A forked child shares the mapping with its parent, but not the list of blocks, so it neither
//!    lends nor gives memory back.
//!
//! **Invariants.**
//! - **W81** A block's bytes are written by `lend` alone, before any other code knows the block.
//!   Blocks that are lent do not overlap: room is taken under the lock on the list of blocks. The
//!   process that writes an arena never reads it.
//! - **W82** Below `touched` every page of an arena is allocated: `lend` has the kernel allocate
//!   them before it writes.
//!
//! **Rejected.** A seal against writing by others (`F_SEAL_FUTURE_WRITE`): it forbids giving pages
//! back, too. A mapping for each block: each would cause page faults again. Reading a block in
//! place, which would save the receiver a copy: numbers that the receiver borrows would change if
//! the block were reused too early.
//!
//! Tests: below; `tests/process/bulk.rs`.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::loom::Mutex;
use crate::sys::descriptor::{AsFile, OwnedFile};
use crate::sys::fork;
use trefoil_os::host::mapping::{Access, Mapping};
use trefoil_os::host::{free_memory, memory_file, view};

/// How much can be lent at once.
pub(crate) const CAPACITY: usize = 256 << 20;

/// Within this many bytes blocks wrap around while little is lent: more than a core's private
/// caches, and a small part of the shared one. Memory that a receiver has just read is in its
/// private cache, and writing to it takes many times as long as writing to memory that neither core
/// has in a private cache any more.
pub(crate) const TURN: usize = 4 << 20;

/// How many bytes are kept while nothing is lent.
pub(crate) const KEPT: usize = 32 << 20;

/// The size of the largest block.
pub(crate) const MAX_BLOCK: usize = 64 << 20;

/// The blocks that are lent, and which pages have been used.
#[derive(Debug, Default)]
struct Blocks {
    /// Where each lent block begins and ends, in whole pages. Sorted.
    out: Vec<(usize, usize)>,
    /// Where the search for room begins.
    next: usize,
    /// There is no gap before this offset.
    full: usize,
    /// All pages below this offset have been allocated (W82).
    touched: usize,
}

impl Blocks {
    /// Finds room for `length` bytes in an arena of `size` bytes.
    fn find(&self, length: usize, size: usize) -> Option<usize> {
        self.gap(self.next.max(self.full), length, TURN)
            .or_else(|| self.gap(self.full, length, size))
    }

    /// The first gap of `length` bytes between `from` and `limit`.
    fn gap(&self, from: usize, length: usize, limit: usize) -> Option<usize> {
        let place = self.out.partition_point(|(start, _)| *start <= from);
        let (before, after) = self.out.split_at(place);
        let mut at = before.last().map_or(from, |(_, end)| from.max(*end));
        for &(start, end) in after {
            if start >= at + length || at + length > limit {
                break;
            }
            at = end;
        }
        (at + length <= limit).then_some(at)
    }

    fn reserve(&mut self, offset: usize, end: usize) {
        let place = self.out.partition_point(|(start, _)| *start < offset);
        self.out.insert(place, (offset, end));
        self.next = if end < TURN { end } else { 0 };
        if offset == self.full {
            self.full = end;
        }
    }

    fn give(&mut self, offset: usize) {
        if let Ok(place) = self.out.binary_search_by_key(&offset, |(start, _)| *start) {
            self.out.remove(place);
        }
        self.full = self.full.min(offset);
    }

    /// The range that can be given back to the system now.
    fn excess(&mut self) -> Option<Range<usize>> {
        if !self.out.is_empty() || self.touched <= KEPT {
            return None;
        }
        Some(KEPT..std::mem::replace(&mut self.touched, KEPT))
    }
}

/// Memory that this process lends to others.
#[derive(Debug)]
pub(crate) struct Arena {
    map: Arc<Mapping>,
    /// The part of the mapping that is the arena.
    range: Range<usize>,
    blocks: Mutex<Blocks>,
    /// The fork generation of the process that it belongs to.
    born: u32,
}

impl Arena {
    /// A new arena, and the descriptor that receivers map, which is open for reading only.
    pub(crate) fn new() -> io::Result<(Self, OwnedFile)> {
        let memory = memory_file::create_sealed("trefoil-home", CAPACITY)?;
        let map = Mapping::new(memory.as_file(), 0..CAPACITY, Access::Write)?;
        let reader = memory_file::reader(&memory)?;
        Ok((Self::over(Arc::new(map), 0..CAPACITY), reader))
    }

    /// An arena in the `range` of a mapping: whole pages, to which nothing else in this process
    /// writes (W81).
    pub(crate) fn over(map: Arc<Mapping>, range: Range<usize>) -> Self {
        fork::register_handler();
        Self {
            blocks: Mutex::default(),
            map,
            range,
            born: fork::generation(),
        }
    }

    /// The address of the byte at `offset`.
    fn at(&self, offset: usize) -> *mut u8 {
        self.map.at(self.range.start + offset)
    }

    /// A block with a copy of `bytes`; `None` if there is no room for it.
    pub(crate) fn lend(self: &Arc<Self>, bytes: &[u8]) -> Option<Block> {
        if bytes.is_empty() || bytes.len() > MAX_BLOCK || self.born != fork::generation() {
            return None;
        }
        let whole = bytes.len().next_multiple_of(view::page_size());
        let offset = {
            let mut blocks = self.blocks.lock();
            let offset = blocks.find(whole, self.range.len())?;
            let end = offset + whole;
            // No gap begins beyond `touched`, because every block that is lent has been reserved.
            if end > blocks.touched {
                self.reserve(blocks.touched..end).ok()?;
                blocks.touched = end;
            }
            blocks.reserve(offset, end);
            offset
        };
        let block = Block {
            home: self.clone(),
            offset,
        };
        // SAFETY: H22, W81, W82: inside the mapping, all pages are there, and no other block has
        // this room; so `bytes` are elsewhere, too.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(offset), bytes.len()) };
        Some(block)
    }

    /// Has the kernel allocate these pages.
    fn reserve(&self, fresh: Range<usize>) -> io::Result<()> {
        free_memory::check(fresh.len())?;
        let start = self.at(fresh.start);
        // SAFETY: H22, H53, W81: our own room, whose content this does not change.
        unsafe { memory_file::populate(start, fresh.len()) }
    }

    fn give_back(&self, offset: usize) {
        if self.born != fork::generation() {
            return;
        }
        let mut blocks = self.blocks.lock();
        blocks.give(offset);
        if let Some(excess) = blocks.excess() {
            let start = self.at(excess.start);
            // SAFETY: H22, H53, W81: whole pages of ours, which no block has; from now on they are
            // not `touched`.
            unsafe { memory_file::give_back(start, excess.len()) };
        }
    }
}

/// A part of an [`Arena`], filled.
#[derive(Debug)]
pub(crate) struct Block {
    home: Arc<Arena>,
    offset: usize,
}

impl Block {
    /// Where it begins in the memory, in bytes.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.give_back(self.offset);
    }
}

#[cfg(all(test, target_os = "linux", not(any(loom, trefoil_port))))]
mod tests {
    use super::*;
    use crate::loom::atomic::Ordering;

    fn page() -> usize {
        view::page_size()
    }

    fn home() -> (Arc<Arena>, OwnedFile) {
        let (home, reader) = Arena::new().unwrap();
        (Arc::new(home), reader)
    }

    fn resident(reader: &OwnedFile) -> usize {
        rustix::fs::fstat(reader).unwrap().st_blocks as usize * 512
    }

    fn seen(window: &Mapping, block: &Block, length: usize) -> Vec<u8> {
        let words = window.words(block.offset(), length).unwrap().iter();
        let bytes = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        bytes.take(length).collect()
    }

    #[test]
    fn blocks_lie_side_by_side_and_are_used_again() {
        let (home, reader) = home();
        let window = Mapping::new(reader.as_file(), 0..CAPACITY, Access::Read).unwrap();
        let one = home.lend(b"one").unwrap();
        let two = home.lend(&[2; 10_000]).unwrap();
        assert_eq!(seen(&window, &one, 3), b"one");
        assert_eq!(seen(&window, &two, 10_000), [2; 10_000]);
        assert_eq!((one.offset(), two.offset()), (0, page()));
        drop(one);
        let three = home.lend(&vec![3; page()]).unwrap();
        let behind = two.offset() + 10_000usize.next_multiple_of(page());
        assert_eq!(three.offset(), behind);
        let rest = home.lend(&vec![5; TURN - behind - page()]).unwrap();
        assert_eq!(rest.offset(), behind + page());
        let four = home.lend(b"four").unwrap();
        assert_eq!(four.offset(), 0, "round");
        let large = home.lend(&vec![6; TURN]).unwrap();
        assert_eq!(large.offset(), TURN, "the first that is large enough");
        drop((rest, large));
        drop((two, three, four));
        assert!(home.blocks.lock().out.is_empty());
    }

    #[test]
    fn it_ends_somewhere_and_much_is_given_back() {
        let (home, reader) = home();
        assert!(home.lend(&[]).is_none() && home.lend(&vec![1; MAX_BLOCK + 1]).is_none());
        let large = vec![1; MAX_BLOCK];
        let all: Vec<Block> = std::iter::from_fn(|| home.lend(&large)).collect();
        assert_eq!(all.len(), CAPACITY / MAX_BLOCK);
        assert!(home.lend(b"no room").is_none() && resident(&reader) >= CAPACITY);
        drop(all);
        assert!(resident(&reader) <= KEPT);
        let window = Mapping::new(reader.as_file(), 0..CAPACITY, Access::Read).unwrap();
        assert_eq!(seen(&window, &home.lend(&large).unwrap(), MAX_BLOCK), large);
    }

    #[test]
    fn others_see_it_and_cannot_write() {
        let (home, reader) = home();
        let block = home.lend(&[7; 5_000]).unwrap();
        let window = Mapping::new(reader.as_file(), 0..CAPACITY, Access::Read).unwrap();
        assert_eq!(seen(&window, &block, 5_000), [7; 5_000]);
        assert!(Mapping::new(reader.as_file(), 0..CAPACITY, Access::Write).is_err());
    }

    #[test]
    fn many_threads_do_not_get_the_same() {
        let (home, reader) = home();
        let window = Arc::new(Mapping::new(reader.as_file(), 0..CAPACITY, Access::Read).unwrap());
        let threads: Vec<_> = (1..=4u8)
            .map(|thread| {
                let (home, window) = (home.clone(), window.clone());
                let work = move || {
                    for round in 0..300usize {
                        let bytes = vec![thread; 1 + round * 997 % 100_000];
                        let block = home.lend(&bytes).unwrap();
                        assert_eq!(seen(&window, &block, bytes.len()), bytes);
                    }
                };
                crate::loom::thread::Builder::new().spawn(work).unwrap()
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert!(home.blocks.lock().out.is_empty());
    }
}
