//! Memory that one process writes and its relatives read, given out in blocks that are used again.
//!
//! **Job.** A large argument that goes through a socket is copied into the kernel and out of it again, and
//! new memory for it costs a page fault for every few kibibytes. Here it is copied once, into a [`Block`] of its
//! sender's [`Home`], which the receiver has mapped ([`Sight`]) and looks at in place ([`Loan`]).
//! The pages stay, so the next one finds them there.
//!
//! **Protocol.**
//! 1. A `Home` is a memfd of [`CAPACITY`] bytes, sparse, and one mapping of it. Others get a descriptor that is open
//!    for reading only, so nobody else maps it to write by accident. (Who wants to can open it anew, by its name in `/proc`.)
//!    Who has no room for a mapping reads it ([`read`]).
//! 2. [`Home::lend`] takes the first room that is large enough, reserves what has never been used of it
//!    (where the machine has no memory left that is an error here, and not a signal later), and fills it. Dropping
//!    the block gives the room back. When the last one is back, what lies behind the first [`KEPT`] bytes is given back
//!    to the system.
//! 3. Whoever sends the block keeps it until the receiver has said that it is done with it.
//! 4. A receiver that is not done with a loan by then replaces the pages of the loan, in place and at once, by its
//!    own with the same content ([`Loan::keep`]), and looks at the home through another mapping from then on.
//!
//! A forked child shares the mapping with its parent, but not what is known of it: there nothing is lent and
//! nothing is given back.
//!
//! **Invariants.**
//! - **Y80** A home's and a sight's mapping have `length` bytes, begin at the beginning of a page, lie within their
//!   file, whose size is sealed, and last as long as the `Home` or `Sight`.
//! - **Y81** A block's bytes are written by `lend` alone, before anybody knows the block. Blocks that are out
//!   do not overlap: whoever takes one has had the lock on what is free.
//! - **Y82** Below `touched` every page of a home is there: `lend` has made the kernel say so before it writes.
//! - **Y83** While a loan is there its bytes do not change: until its receiver has said that it is done they
//!   are a block that is out (Y81), and before it says so what is left of the loan has become its own (`keep`).
//!   Who receives believes its sender in this, and must: it is a worker, and runs what its parent names.
//!
//! **Rejected.** A seal against writing by others (`F_SEAL_FUTURE_WRITE`): it forbids giving pages back, too. A
//! mapping for each block: its page faults again and again.
//!
//! Tests: below; `tests/process_bulk.rs`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags};

use crate::loom::Mutex;
use crate::sys::{fork, room, segment};

/// How much can be lent at once.
pub(crate) const CAPACITY: usize = 256 << 20;

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
// SAFETY: Y81, Y83: what is read through it does not change meanwhile.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(memory: BorrowedFd<'_>, length: usize, protection: ProtFlags) -> io::Result<Self> {
        let hint = std::ptr::null_mut();
        // SAFETY: Y80: a fresh mapping, at an address that the kernel chooses, aliases no
        // other memory of this process.
        let start =
            unsafe { rustix::mm::mmap(hint, length, protection, MapFlags::SHARED, memory, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
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
    /// Y82.
    touched: usize,
    out: usize,
    /// Some page below `touched` may be missing: nothing is lent any more.
    broken: bool,
}

impl Free {
    /// Room for `length` bytes: the first there is.
    fn take(&mut self, length: usize) -> Option<usize> {
        if self.broken {
            return None;
        }
        let mut holes = self.holes.iter();
        let (&offset, &have) = holes.find(|(_, have)| **have >= length)?;
        self.holes.remove(&offset);
        if have > length {
            self.holes.insert(offset + length, have - length);
        }
        self.out += 1;
        Some(offset)
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
    /// A new one, and what receivers map ([`Sight::open`]): a descriptor that is open for reading only.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let memory = segment::sparse("trefoil-home", CAPACITY)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let map = Mapping::new(memory.as_fd(), CAPACITY, ProtFlags::READ | ProtFlags::WRITE)?;
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let reader = rustix::fs::open(path, flags, Mode::empty())?;
        fork::watch();
        let home = Self {
            map,
            free: Mutex::new(Free {
                holes: BTreeMap::from([(0, CAPACITY)]),
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
            length: bytes.len(),
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
    length: usize,
    /// With what is left of the last page.
    whole: usize,
}

impl Block {
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.home.map.at(self.offset);
        // SAFETY: Y80, Y81: inside of the mapping, filled, and nobody writes to it while it is out.
        unsafe { std::slice::from_raw_parts(start, self.length) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.home.give_back(self.offset, self.whole);
    }
}

/// Another process's home, as this one sees it.
#[derive(Debug)]
pub(crate) struct Sight(Mapping);

impl Sight {
    pub(crate) fn open(reader: BorrowedFd<'_>) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(reader)?;
        let length = usize::try_from(rustix::fs::fstat(reader)?.st_size).unwrap_or(0);
        if !seals.contains(SealFlags::SHRINK) || length == 0 || length > isize::MAX as usize {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Mapping::new(reader, length, ProtFlags::READ).map(Self)
    }
}

/// A copy of bytes of another process's home, for who has no room for its mapping.
pub(crate) fn read(reader: BorrowedFd<'_>, offset: usize, length: usize) -> io::Result<Vec<u8>> {
    let whole = usize::try_from(rustix::fs::fstat(reader)?.st_size).unwrap_or(0);
    if whole.checked_sub(offset).is_none_or(|room| length > room) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length)?;
    bytes.resize(length, 0);
    let mut at = 0;
    while at < length {
        match rustix::io::pread(reader, &mut bytes[at..], (offset + at) as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => at += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Bytes of another process, as long as they are looked at.
#[derive(Debug)]
pub(crate) struct Loan {
    sight: Arc<Sight>,
    offset: usize,
    length: usize,
}

impl Loan {
    /// The block at `offset`, if there can be one.
    pub(crate) fn new(sight: &Arc<Sight>, offset: usize, length: usize) -> Option<Arc<Self>> {
        let room = sight.0.length.checked_sub(offset)?;
        if length == 0 || length > room || !offset.is_multiple_of(page()) {
            return None;
        }
        Some(Arc::new(Self {
            sight: sight.clone(),
            offset,
            length,
        }))
    }

    /// Which block it is.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let start = self.sight.0.at(self.offset);
        // SAFETY: Y80, Y83: inside of the mapping, and does not change as long as `self` is there.
        unsafe { std::slice::from_raw_parts(start, self.length) }
    }

    /// Makes the bytes this process's own, where they are. What else is seen through the same sight stays
    /// the other's; but at this place, it will not be seen again.
    pub(crate) fn keep(&self) -> io::Result<()> {
        let whole = self.length.next_multiple_of(page());
        let (hint, write) = (std::ptr::null_mut(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: Y80: a fresh mapping, at an address that the kernel chooses, aliases no
        // other memory of this process.
        let own = unsafe { rustix::mm::mmap_anonymous(hint, whole, write, MapFlags::PRIVATE) }?;
        // SAFETY: Y80: as long as the loan, and new.
        unsafe { std::ptr::copy_nonoverlapping(self.bytes().as_ptr(), own.cast(), self.length) };
        // SAFETY: Y80: it is ours, and nobody knows it yet.
        let sealed = unsafe { rustix::mm::mprotect(own, whole, MprotectFlags::READ) };
        let place = self.sight.0.at(self.offset).cast();
        let moved = sealed.and_then(|()| {
            // SAFETY: Y80, Y83: whole pages of a mapping that is ours; the kernel puts these there in one step, and
            // their bytes are the same, so nobody who reads there notices.
            unsafe { rustix::mm::mremap_fixed(own, whole, whole, MremapFlags::MAYMOVE, place) }
        });
        match moved {
            Ok(_) => Ok(()),
            Err(error) => {
                // SAFETY: Y80: ours, and not in use.
                let _ = unsafe { rustix::mm::munmap(own, whole) };
                Err(error.into())
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn home() -> (Arc<Home>, OwnedFd) {
        let (home, reader) = Home::new().unwrap();
        (Arc::new(home), reader)
    }

    fn resident(reader: &OwnedFd) -> usize {
        rustix::fs::fstat(reader).unwrap().st_blocks as usize * 512
    }

    #[test]
    fn blocks_lie_side_by_side_and_are_used_again() {
        let (home, _reader) = home();
        let one = home.lend(b"one").unwrap();
        let two = home.lend(&[2; 10_000]).unwrap();
        assert_eq!((one.bytes(), two.bytes()), (&b"one"[..], &[2; 10_000][..]));
        assert_eq!((one.offset(), two.offset()), (0, page()));
        drop(one);
        let three = home.lend(&vec![3; page()]).unwrap();
        assert_eq!(three.offset(), 0, "the first that is large enough");
        let four = home.lend(b"four").unwrap();
        assert_eq!(
            four.offset(),
            two.offset() + 10_000usize.next_multiple_of(page())
        );
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
        assert_eq!(home.lend(&large).unwrap().bytes(), large);
    }

    #[test]
    fn others_see_it_and_cannot_write() {
        let (home, reader) = home();
        let block = home.lend(&[7; 5_000]).unwrap();
        let sight = Arc::new(Sight::open(reader.as_fd()).unwrap());
        let loan = Loan::new(&sight, block.offset(), 5_000).unwrap();
        assert_eq!(loan.bytes(), [7; 5_000]);
        for (offset, length) in [(1, 1), (0, 0), (0, CAPACITY + 1), (CAPACITY, 1)] {
            assert!(Loan::new(&sight, offset, length).is_none());
        }
        assert!(Loan::new(&sight, usize::MAX / page() * page(), usize::MAX).is_none());
        assert!(Loan::new(&sight, 0, CAPACITY).is_some());
        let write = ProtFlags::READ | ProtFlags::WRITE;
        assert!(Mapping::new(reader.as_fd(), CAPACITY, write).is_err());
        assert_eq!(
            read(reader.as_fd(), block.offset(), 5_000).unwrap(),
            [7; 5_000]
        );
        for (offset, length) in [(0, CAPACITY + 1), (CAPACITY, 1), (usize::MAX, 1)] {
            assert!(read(reader.as_fd(), offset, length).is_err());
        }
    }

    #[test]
    fn what_is_kept_does_not_change() {
        let (home, reader) = home();
        let sight = Arc::new(Sight::open(reader.as_fd()).unwrap());
        let block = home.lend(&[7; 9_000]).unwrap();
        let loan = Loan::new(&sight, block.offset(), 9_000).unwrap();
        let bytes = loan.bytes();
        loan.keep().unwrap();
        drop(block);
        let other = home.lend(&[8; 20_000]).unwrap();
        assert_eq!((other.offset(), bytes), (loan.offset(), &[7; 9_000][..]));
        let again = Arc::new(Sight::open(reader.as_fd()).unwrap());
        let second = Loan::new(&again, other.offset(), 20_000).unwrap();
        assert_eq!(second.bytes(), [8; 20_000]);
    }

    #[test]
    fn many_threads_do_not_get_the_same() {
        let (home, _reader) = home();
        let threads: Vec<_> = (1..=4u8)
            .map(|thread| {
                let home = home.clone();
                let work = move || {
                    for round in 0..300usize {
                        let bytes = vec![thread; 1 + round * 997 % 100_000];
                        let block = home.lend(&bytes).unwrap();
                        assert_eq!(block.bytes(), bytes);
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
