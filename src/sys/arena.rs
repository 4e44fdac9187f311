//! Memory that one process writes and its relatives read, given out in blocks that are used again.
//!
//! **Job.** A large argument that goes through a socket is copied into the kernel and out of it again, and
//! new memory for it costs a page fault for every few kibibytes. Here it is copied once, into a [`Block`] of its
//! sender's [`Home`], which the receiver has mapped ([`Window`]), and from there to where the receiver wants it.
//! The pages stay, so the next one finds them there.
//!
//! **Protocol.**
//! 1. A `Home` is a memfd of [`CAPACITY`] bytes, sparse, and one mapping of it. Others get a descriptor that is open
//!    for reading only, so nobody else maps it to write by accident. (Who wants to can open it anew, by its name in `/proc`.)
//!    A receiver that has no room for all of it maps each block by itself.
//! 2. [`Home::lend`] takes room behind what was taken last, round and round in the first [`TURN`] bytes, or else the
//!    first room that is large enough; reserves what has never been used of it
//!    (where the machine has no memory left that is an error here, and not a signal later), and fills it. Dropping
//!    the block gives the room back. When the last one is back, what lies behind the first [`KEPT`] bytes is given back
//!    to the system.
//! 3. Whoever sends the block keeps it until the receiver has said that it is done with it.
//!
//! A forked child shares the mapping with its parent, but not what is known of it: there nothing is lent and
//! nothing is given back.
//!
//! **Invariants.**
//! - **Y80** A home's and a window's mapping have `length` bytes, begin at the beginning of a page, lie within their
//!   file, whose size is sealed, and last as long as the `Home` or `Window`.
//! - **Y81** A block's bytes are written by `lend` alone, before anybody knows the block. Blocks that are out
//!   do not overlap: whoever takes one has had the lock on what is free.
//! - **Y82** Below `touched` every page of a home is there: `lend` has made the kernel say so before it writes.
//! - **Y83** A home is never read where it is written, and a window's mapping is accessed as atomics only: whatever
//!   is in it then are some numbers. That these are what was lent is a promise of 3, and no `unsafe` rests on it.
//!
//! **Rejected.** A seal against writing by others (`F_SEAL_FUTURE_WRITE`): it forbids giving pages back, too. A
//! mapping for each block: its page faults again and again. Looking at a block in place, which saves its receiver a copy: then
//! numbers that somebody borrows change if the block is used again too early, and every place that could cause it,
//! by mistake or on purpose, is one where memory is unsound.
//!
//! Tests: below; `tests/process/bulk.rs`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::loom::Mutex;
use crate::loom::atomic::AtomicU64 as Word;
use crate::sys::{fork, room, segment};

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

/// A shared mapping, from the start of a file.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: Y80: the mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: Y81, Y83: a home's is written where nobody else has room, and another's is read as atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(
        memory: BorrowedFd<'_>,
        from: usize,
        length: usize,
        protection: ProtFlags,
    ) -> io::Result<Self> {
        let (hint, from) = (std::ptr::null_mut(), from as u64);
        // SAFETY: Y80: a fresh mapping, at an address that the kernel chooses, aliases no
        // other memory of this process.
        let start =
            unsafe { rustix::mm::mmap(hint, length, protection, MapFlags::SHARED, memory, from) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    fn words(&self, offset: usize, length: usize) -> Option<&[Word]> {
        let room = self.length.checked_sub(offset)?;
        if length > room || !offset.is_multiple_of(8) {
            return None;
        }
        let start = self.at(offset).cast();
        // SAFETY: Y80, Y83: inside of the mapping, which ends where a page does, aligned, and atomics only.
        Some(unsafe { std::slice::from_raw_parts(start, length.div_ceil(8)) })
    }

    fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.length);
        // SAFETY: Y80: inside of the mapping, or at its end.
        unsafe { self.start.as_ptr().add(offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Y80: this is our mapping, and what borrowed from it is gone.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
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

/// The memory that this process lends to others.
#[derive(Debug)]
pub(crate) struct Home {
    map: Mapping,
    free: Mutex<Free>,
    /// The generation of forks that it belongs to.
    born: u32,
}

impl Home {
    /// A new one, and what receivers map ([`Window::open`]): a descriptor that is open for reading only.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let memory = segment::sparse("trefoil-home", CAPACITY)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let map = Mapping::new(
            memory.as_fd(),
            0,
            CAPACITY,
            ProtFlags::READ | ProtFlags::WRITE,
        )?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let reader = rustix::fs::open(path, flags, Mode::empty())?;
        fork::watch();
        let home = Self {
            map,
            free: Mutex::new(Free {
                holes: BTreeMap::from([(0, CAPACITY)]),
                next: 0,
                touched: 0,
                out: 0,
                broken: false,
            }),
            born: fork::generation(),
        };
        Ok((home, reader))
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
        // SAFETY: Y80, Y81, Y82: inside of the mapping, all pages are there, and nobody else has this room; so
        // `bytes` are elsewhere, too.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.map.at(offset), bytes.len()) };
        Some(block)
    }

    /// Makes pages be there.
    fn reserve(&self, fresh: Range<usize>) -> io::Result<()> {
        room::find(fresh.len())?;
        let start = self.map.at(fresh.start).cast();
        // SAFETY: Y80, Y81: our own room, whose content this does not change.
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
            let start = self.map.at(excess.start).cast();
            // SAFETY: Y80, Y81: whole pages of ours, which nobody has; from now on they are not `touched`.
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

/// Another process's home, as this one sees it.
#[derive(Debug)]
pub(crate) struct Window(Mapping);

impl Window {
    /// What lies there in the `range`, which begins where a page does; to the end of its last page.
    pub(crate) fn open(reader: BorrowedFd<'_>, range: Range<usize>) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(reader)?;
        let size = usize::try_from(rustix::fs::fstat(reader)?.st_size).unwrap_or(0);
        let whole = range.len().checked_next_multiple_of(page());
        let fits = |length| {
            range
                .start
                .checked_add(length)
                .is_some_and(|end| end <= size)
        };
        match whole.filter(|length| *length > 0 && fits(*length)) {
            Some(length) if seals.contains(SealFlags::SHRINK) => {
                Mapping::new(reader, range.start, length, ProtFlags::READ).map(Self)
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The words that hold `length` bytes at `offset`, whatever is written there; `None` if that is not in it.
    pub(crate) fn words(&self, offset: usize, length: usize) -> Option<&[Word]> {
        self.0.words(offset, length)
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

    fn seen(window: &Window, block: &Block, length: usize) -> Vec<u8> {
        let words = window.words(block.offset(), length).unwrap().iter();
        let bytes = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes());
        bytes.take(length).collect()
    }

    #[test]
    fn blocks_lie_side_by_side_and_are_used_again() {
        let (home, reader) = home();
        let window = Window::open(reader.as_fd(), 0..CAPACITY).unwrap();
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
        let window = Window::open(reader.as_fd(), 0..CAPACITY).unwrap();
        assert_eq!(seen(&window, &home.lend(&large).unwrap(), MOST), large);
    }

    #[test]
    fn others_see_it_and_cannot_write() {
        let (home, reader) = home();
        let block = home.lend(&[7; 5_000]).unwrap();
        let window = Window::open(reader.as_fd(), 0..CAPACITY).unwrap();
        assert_eq!(seen(&window, &block, 5_000), [7; 5_000]);
        for (offset, length) in [
            (4, 1),
            (0, CAPACITY + 1),
            (CAPACITY, 1),
            (usize::MAX & !7, 1),
        ] {
            assert!(window.words(offset, length).is_none());
        }
        assert_eq!(window.words(0, CAPACITY).unwrap().len(), CAPACITY / 8);
        let write = ProtFlags::READ | ProtFlags::WRITE;
        assert!(Mapping::new(reader.as_fd(), 0, CAPACITY, write).is_err());
        let window = |from, length| Window::open(reader.as_fd(), from..from + length);
        let one = window(block.offset(), 5_000).unwrap();
        assert_eq!(one.words(0, 5_000).unwrap().len(), 625);
        for (from, length) in [(0, 0), (1, 8), (0, CAPACITY + 1), (CAPACITY, 1)] {
            assert!(window(from, length).is_err());
        }
    }

    #[test]
    fn many_threads_do_not_get_the_same() {
        let (home, reader) = home();
        let window = Arc::new(Window::open(reader.as_fd(), 0..CAPACITY).unwrap());
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
