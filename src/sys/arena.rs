//! Memory that one process writes and its relatives read, given out in blocks that are used again.
//!
//! **Job.** A large argument that goes through a socket is copied into the kernel and out of it again, and
//! new memory for it costs a page fault for every few kibibytes. Here it is copied once, into a [`Block`] of its
//! sender's [`Home`], which the receiver has mapped, and from there to where the receiver wants it.
//! The pages stay, so the next one finds them there. Large results go the same way back.
//!
//! **Protocol.**
//! 1. A `Home` is sparse memory in a file of its own, of [`CAPACITY`] bytes, or a part of another ([`Home::over`]). Others get a
//!    descriptor that is open for reading only, so nobody else maps it to write by accident. (A process that wants to can
//!    open it anew, by its name in `/proc`.)
//! 2. [`Home::lend`] takes room behind what was taken last, round and round in the first [`TURN`] bytes, or else the
//!    first room that is large enough; reserves what has never been used of it
//!    (where the machine has no memory left that is an error here, and not a signal later), and fills it. Dropping
//!    the block gives the room back. When the last one is back, what lies behind the first [`KEPT`] bytes is given back
//!    to the system.
//! 3. The sender keeps a block until the receiver has said that it is done with it.
//!
//! A forked child shares the mapping with its parent, but not what is known of it: there nothing is lent and
//! nothing is given back.
//!
//! **Invariants.**
//! - **Y81** A block's bytes are written by `lend` alone, before anybody knows the block. Blocks that are out
//!   do not overlap: room is taken under the lock on what is free. A home's memory is never read where it is written.
//! - **Y82** Below `touched` every page of a home is there: `lend` has made the kernel say so before it writes.
//!
//! **Rejected.** A seal against writing by others (`F_SEAL_FUTURE_WRITE`): it forbids giving pages back, too. A
//! mapping for each block: its page faults again and again. Looking at a block in place, which saves its receiver a copy: then
//! numbers that somebody borrows change if the block is used again too early.
//!
//! Tests: below; `tests/process/bulk.rs`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::mm::Advice;

use super::mapping::{self, Access, Mapping};
use super::{fork, room};
use crate::loom::Mutex;

/// How much can be lent at once.
pub(crate) const CAPACITY: usize = 256 << 20;

/// How much is used in turn while little is lent: more than the caches that a processor has for itself, and not much of the
/// one that all have. What a receiver has just read is in its own cache, too, and to write to it there takes
/// many times as long as to write to what neither has any more.
pub(crate) const TURN: usize = 4 << 20;

/// How much is kept while nothing is lent.
pub(crate) const KEPT: usize = 32 << 20;

/// No block is larger.
pub(crate) const MOST: usize = 64 << 20;

fn page() -> usize {
    rustix::param::page_size()
}

/// What is free, by its beginning, in whole pages.
#[derive(Debug)]
struct Free {
    holes: BTreeMap<usize, usize>,
    /// Where to look for room first.
    next: usize,
    /// Y82.
    touched: usize,
    out: usize,
    /// Some page below `touched` may be missing: nothing is lent any more.
    broken: bool,
}

impl Free {
    /// Room for `length` bytes.
    fn take(&mut self, length: usize) -> Option<usize> {
        if self.broken {
            return None;
        }
        let (hole, offset) = self.in_turn(length).or_else(|| self.first(length))?;
        let end = hole + self.holes.remove(&hole)?;
        if offset > hole {
            self.holes.insert(hole, offset - hole);
        }
        if end > offset + length {
            self.holes.insert(offset + length, end - offset - length);
        }
        self.next = match offset + length < TURN {
            true => offset + length,
            false => 0,
        };
        self.out += 1;
        Some(offset)
    }

    /// The first hole with so much room within the first bytes from `next` on, and where that is.
    fn in_turn(&self, length: usize) -> Option<(usize, usize)> {
        // (What is free behind `touched` begins there, or behind what is being reserved: Y82.)
        let from = self.next.min(self.touched);
        let mut holes = self.holes.range(..=from).rev().take(1);
        let mut behind = self.holes.range(from + 1..TURN);
        let fits = |(&hole, &have): (&usize, &usize)| {
            let offset = hole.max(from);
            let end = TURN.min(hole + have);
            (offset + length <= end).then_some((hole, offset))
        };
        holes.find_map(fits).or_else(|| behind.find_map(fits))
    }

    /// The first hole with so much room.
    fn first(&self, length: usize) -> Option<(usize, usize)> {
        let mut holes = self.holes.iter();
        let (&hole, _) = holes.find(|(_, have)| **have >= length)?;
        Some((hole, hole))
    }

    fn give(&mut self, mut offset: usize, mut length: usize) {
        self.out -= 1;
        if let Some(behind) = self.holes.remove(&(offset + length)) {
            length += behind;
        }
        let before = self.holes.range(..offset).next_back();
        if let Some((&start, &have)) = before
            && start + have == offset
        {
            (offset, length) = (start, have + length);
        }
        self.holes.insert(offset, length);
    }

    /// What to give back to the system now.
    fn excess(&mut self) -> Option<Range<usize>> {
        if self.out > 0 || self.touched <= KEPT {
            return None;
        }
        Some(KEPT..std::mem::replace(&mut self.touched, KEPT))
    }
}

/// Memory that this process lends to others.
#[derive(Debug)]
pub(crate) struct Home {
    map: Arc<Mapping>,
    /// Where in the mapping.
    place: Range<usize>,
    free: Mutex<Free>,
    /// The generation of forks that it belongs to.
    born: u32,
}

impl Home {
    /// A new one, and what receivers map: a descriptor that is open for reading only.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let memory = mapping::create_sealed("trefoil-home", CAPACITY)?;
        let map = Mapping::new(memory.as_fd(), 0..CAPACITY, Access::Write)?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let reader = rustix::fs::open(path, flags, Mode::empty())?;
        Ok((Self::over(Arc::new(map), 0..CAPACITY), reader))
    }

    /// The `place` in a mapping, whole pages, which nothing else in this process writes to (Y81).
    pub(crate) fn over(map: Arc<Mapping>, place: Range<usize>) -> Self {
        fork::watch();
        Self {
            free: Mutex::new(Free {
                holes: BTreeMap::from([(0, place.len())]),
                next: 0,
                touched: 0,
                out: 0,
                broken: false,
            }),
            map,
            place,
            born: fork::generation(),
        }
    }

    /// Where the byte at `offset` is.
    fn at(&self, offset: usize) -> *mut u8 {
        self.map.at(self.place.start + offset)
    }

    /// A block with a copy of `bytes`; `None` if there is no room for it.
    pub(crate) fn lend(self: &Arc<Self>, bytes: &[u8]) -> Option<Block> {
        if bytes.is_empty() || bytes.len() > MOST || self.born != fork::generation() {
            return None;
        }
        let whole = bytes.len().next_multiple_of(page());
        let (offset, touched) = {
            let mut free = self.free.lock();
            (free.take(whole)?, free.touched)
        };
        let block = Block {
            home: self.clone(),
            offset,
            whole,
        };
        let fresh = offset.max(touched)..offset + whole;
        if !fresh.is_empty() {
            let reserved = self.reserve(fresh.clone());
            let mut free = self.free.lock();
            match reserved {
                Ok(()) => free.touched = free.touched.max(fresh.end),
                Err(_) => {
                    free.broken |= free.touched > fresh.start;
                    drop(free); // before the block, which takes it
                    return None;
                }
            }
        }
        // SAFETY: Y22, Y81, Y82: inside of the mapping, all pages are there, and nobody else has this room; so
        // `bytes` are elsewhere, too.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(offset), bytes.len()) };
        Some(block)
    }

    /// Makes pages be there.
    fn reserve(&self, fresh: Range<usize>) -> io::Result<()> {
        room::find(fresh.len())?;
        let start = self.at(fresh.start).cast();
        // SAFETY: Y22, Y81: our own room, whose content this does not change.
        unsafe { rustix::mm::madvise(start, fresh.len(), Advice::LinuxPopulateWrite) }?;
        Ok(())
    }

    fn give_back(&self, offset: usize, whole: usize) {
        if self.born != fork::generation() {
            return;
        }
        let mut free = self.free.lock();
        free.give(offset, whole);
        if let Some(excess) = free.excess() {
            let start = self.at(excess.start).cast();
            // SAFETY: Y22, Y81: whole pages of ours, which nobody has; from now on they are not `touched`.
            let _ = unsafe { rustix::mm::madvise(start, excess.len(), Advice::LinuxRemove) };
        }
    }
}

/// A part of a [`Home`], filled.
#[derive(Debug)]
pub(crate) struct Block {
    home: Arc<Home>,
    offset: usize,
    /// How long it is, with what is left of the last page.
    whole: usize,
}

impl Block {
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.give_back(self.offset, self.whole);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::loom::atomic::Ordering;

    fn home() -> (Arc<Home>, OwnedFd) {
        let (home, reader) = Home::new().unwrap();
        (Arc::new(home), reader)
    }

    fn resident(reader: &OwnedFd) -> usize {
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
        let window = Mapping::new(reader.as_fd(), 0..CAPACITY, Access::Read).unwrap();
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
        let free = home.free.lock();
        assert_eq!((free.holes.get(&0), free.out), (Some(&CAPACITY), 0));
    }

    #[test]
    fn it_ends_somewhere_and_much_is_given_back() {
        let (home, reader) = home();
        assert!(home.lend(&[]).is_none() && home.lend(&vec![1; MOST + 1]).is_none());
        let large = vec![1; MOST];
        let all: Vec<Block> = std::iter::from_fn(|| home.lend(&large)).collect();
        assert_eq!(all.len(), CAPACITY / MOST);
        assert!(home.lend(b"no room").is_none() && resident(&reader) >= CAPACITY);
        drop(all);
        assert!(resident(&reader) <= KEPT);
        let window = Mapping::new(reader.as_fd(), 0..CAPACITY, Access::Read).unwrap();
        assert_eq!(seen(&window, &home.lend(&large).unwrap(), MOST), large);
    }

    #[test]
    fn others_see_it_and_cannot_write() {
        let (home, reader) = home();
        let block = home.lend(&[7; 5_000]).unwrap();
        let window = Mapping::new(reader.as_fd(), 0..CAPACITY, Access::Read).unwrap();
        assert_eq!(seen(&window, &block, 5_000), [7; 5_000]);
        assert!(Mapping::new(reader.as_fd(), 0..CAPACITY, Access::Write).is_err());
    }

    #[test]
    fn many_threads_do_not_get_the_same() {
        let (home, reader) = home();
        let window = Arc::new(Mapping::new(reader.as_fd(), 0..CAPACITY, Access::Read).unwrap());
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
        assert_eq!(home.free.lock().holes.get(&0), Some(&CAPACITY));
    }
}
