//! Memory that several processes map, and that nobody can take away or change its size.
//!
//! **Job.** A [`Segment`] is a memfd and one mapping of it. There are two kinds:
//!
//! - *Fixed*: filled before it is mapped, then sealed against every write, by anybody, through
//!   any descriptor or mapping, for ever. So its bytes may be lent as `&[u8]`.
//! - *Live*: written by all who have it, so it is only ever accessed as atomics.
//!
//! Both are sealed against being resized: an access through a mapping cannot find that the memory is gone
//! (`SIGBUS`). The pages of a live segment are reserved when it is made, for the same reason.
//!
//! A fixed segment is mapped privately: nothing is ever written, so the pages are the file's either way, and
//! kernels before 6.7 take a shared mapping of a file that is sealed against writing for one that could
//! become writable, and refuse it.
//!
//! What cannot fit into this machine is refused before it is tried (`room`), as is
//! what is longer than this process's files may be (`RLIMIT_FSIZE`): a signal would be the answer.
//!
//! **A segment from somebody else** ([`Segment::open`]) is a descriptor of which nothing is
//! believed: its seals and its size are asked from the kernel before it is mapped. Seals cannot be
//! taken off, so what was true then stays true.
//!
//! **Invariants.**
//! - **Y60** A segment's mapping has `length` bytes, at least one, begins at the beginning of a page, lies within its
//!   file, whose size is sealed, and lasts as long as the `Segment`.
//! - **Y61** The file of a fixed segment is sealed against writing, from before it is mapped on. The
//!   kernel refuses that seal while a writable mapping exists, and writable mappings and writes after
//!   it. So its bytes never change.
//! - **Y62** The bytes of a live segment are only accessed as atomics.
//!
//! **Rejected.** A mapping of a file in `/dev/shm`: it has a name, which outlives who dies; whoever knows it
//! can truncate it. Filling through a mapping: twice the page faults of `write`.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/memory.rs`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::Resource;

use crate::sys::limits;
use crate::sys::refused::refused as named;
use crate::sys::room;

/// What nobody may do to any segment.
const RESIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Whether a segment's bytes change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Fixed,
    Live,
}

/// A mapped memfd.
#[derive(Debug)]
pub(crate) struct Segment {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: Y60: the mapping belongs to the process, not to a thread.
unsafe impl Send for Segment {}
// SAFETY: Y61, Y62: its bytes never change, or are accessed as atomics only.
unsafe impl Sync for Segment {}

impl Segment {
    /// A fixed segment with a copy of `bytes`, and its descriptor. (One byte, if there are none.)
    pub(crate) fn fixed(bytes: &[u8]) -> io::Result<(OwnedFd, Self)> {
        let memory = create("trefoil-shared", bytes.len().max(1))?;
        let mut at = 0;
        while at < bytes.len() {
            match rustix::io::pwrite(&memory, &bytes[at..], at as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => at += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        rustix::fs::fcntl_add_seals(&memory, RESIZE | SealFlags::WRITE | SealFlags::SEAL)?;
        let segment = Self::open(memory.as_fd(), Kind::Fixed)?;
        Ok((memory, segment))
    }

    /// A live segment of `length` bytes, all of them zero, and its descriptor. (One byte, if
    /// there are to be none.)
    pub(crate) fn live(length: usize) -> io::Result<(OwnedFd, Self)> {
        let length = length.max(1);
        let memory = create("trefoil-atomics", length)?;
        rustix::fs::fallocate(&memory, FallocateFlags::empty(), 0, length as u64)?;
        rustix::fs::fcntl_add_seals(&memory, RESIZE | SealFlags::SEAL)?;
        let segment = Self::open(memory.as_fd(), Kind::Live)?;
        Ok((memory, segment))
    }

    /// Maps the memory behind a descriptor that may come from anywhere.
    pub(crate) fn open(memory: BorrowedFd<'_>, kind: Kind) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(memory).map_err(|_| refused("is none"))?;
        if !seals.contains(RESIZE) {
            return Err(refused("can be resized"));
        }
        if kind == Kind::Fixed && !seals.contains(SealFlags::WRITE) {
            return Err(refused("can be written to"));
        }
        // After the seals: it does not change any more.
        let size = rustix::fs::fstat(memory)?.st_size;
        let length = usize::try_from(size).unwrap_or(0);
        if length == 0 || length > isize::MAX as usize {
            return Err(refused("has an impossible size"));
        }
        let (protection, flags) = match kind {
            Kind::Fixed => (ProtFlags::READ, MapFlags::PRIVATE),
            Kind::Live => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED),
        };
        let start = map(memory, length, protection, flags)?;
        Ok(Self { start, length })
    }

    /// Where it begins: at the beginning of a page.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes it has: at least one.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: Y60: this is our mapping, and what borrowed from it is gone.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A memfd of `length` bytes, which may be sealed, and whose bytes nobody can execute.
pub(crate) fn create(name: &str, length: usize) -> io::Result<OwnedFd> {
    room::find(length)?;
    sparse(name, length)
}

/// The same, of which little may ever be used.
pub(crate) fn sparse(name: &str, length: usize) -> io::Result<OwnedFd> {
    let limit = limits::limit(Resource::Fsize)
        .ok()
        .and_then(|limit| limit.current);
    if limit.is_some_and(|limit| length as u64 > limit) {
        return Err(Errno::FBIG.into());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel that has never heard of the last flag. (Some, set up strictly, want it.)
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        result => result,
    }
    .map_err(named("memfd_create"))?;
    rustix::fs::ftruncate(&memory, length as u64).map_err(named("ftruncate"))?;
    Ok(memory)
}

fn map(
    memory: BorrowedFd<'_>,
    length: usize,
    protection: ProtFlags,
    flags: MapFlags,
) -> io::Result<NonNull<u8>> {
    let hint = std::ptr::null_mut();
    // SAFETY: Y60: a fresh mapping, at an address that the kernel chooses, aliases no
    // other memory of this process.
    let start = unsafe { rustix::mm::mmap(hint, length, protection, flags, memory, 0) }?;
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn refused(what: &str) -> io::Error {
    let words = format!("a descriptor was sent as shared memory that {what}");
    io::Error::new(io::ErrorKind::InvalidData, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(segment: &Segment) -> &[u8] {
        // SAFETY: Y60, Y61: the tests ask for fixed ones only.
        unsafe { std::slice::from_raw_parts(segment.start.as_ptr(), segment.length) }
    }

    #[test]
    fn a_fixed_segment_cannot_be_changed() {
        let (memory, segment) = Segment::fixed(b"hello").unwrap();
        assert_eq!(bytes(&segment), b"hello");
        let same = Segment::open(memory.as_fd(), Kind::Fixed).unwrap();
        drop(segment);
        assert_eq!(bytes(&same), b"hello");
        assert!(rustix::io::pwrite(&memory, b"j", 0).is_err());
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        let write = ProtFlags::READ | ProtFlags::WRITE;
        assert!(map(memory.as_fd(), 1, write, MapFlags::SHARED).is_err());
        assert_eq!(Segment::fixed(b"").unwrap().1.length(), 1);
    }

    /// One that is shared is refused by kernels before 6.7, which this one may not be.
    #[test]
    fn a_fixed_segment_is_mapped_privately_and_a_live_one_is_shared() {
        let (_fixed, one) = Segment::fixed(b"hello").unwrap();
        let (_live, other) = Segment::live(5).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for (segment, flags) in [(one, "r--p"), (other, "rw-s")] {
            let start = format!("{:x}-", segment.start.as_ptr() as usize);
            let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(line.contains(flags), "{line}");
        }
    }

    /// Longer than 32 bits can say, and no page of it taken before it is looked at.
    #[test]
    fn a_sparse_segment_may_be_larger_than_four_gibibytes() {
        const LENGTH: u64 = (4 << 30) + 1;
        let memory = rustix::fs::memfd_create("sparse", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, LENGTH).unwrap();
        rustix::io::pwrite(&memory, b"z", LENGTH - 1).unwrap();
        rustix::fs::fcntl_add_seals(&memory, RESIZE | SealFlags::WRITE).unwrap();
        let segment = Segment::open(memory.as_fd(), Kind::Fixed).unwrap();
        assert_eq!(segment.length() as u64, LENGTH);
        assert_eq!(bytes(&segment).last(), Some(&b'z'));
        assert_eq!(bytes(&segment)[3 << 30], 0);
        let taken = rustix::fs::fstat(&memory).unwrap().st_blocks * 512;
        assert!(taken < 8 << 20, "{taken} bytes taken");
    }

    #[test]
    fn nobody_executes_it() {
        for memory in [Segment::fixed(b"x").unwrap().0, Segment::live(1).unwrap().0] {
            let mode = rustix::fs::fstat(&memory).unwrap().st_mode;
            // Old kernels cannot help it.
            let old = rustix::fs::memfd_create("x", MemfdFlags::NOEXEC_SEAL).is_err();
            assert!(old || mode & 0o111 == 0, "{mode:o}");
        }
    }

    #[test]
    fn what_is_not_sealed_is_not_mapped() {
        let refused = |memory: OwnedFd, kind, word: &str| {
            let error = Segment::open(memory.as_fd(), kind).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        };
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        refused(file.into(), Kind::Fixed, "is none");
        refused(io::pipe().unwrap().0.into(), Kind::Live, "is none");
        refused(create("open", 9).unwrap(), Kind::Live, "resized");
        let half = create("half", 9).unwrap();
        rustix::fs::fcntl_add_seals(&half, SealFlags::GROW | SealFlags::WRITE).unwrap();
        refused(half, Kind::Fixed, "resized");
        let empty = create("empty", 0).unwrap();
        rustix::fs::fcntl_add_seals(&empty, RESIZE | SealFlags::WRITE).unwrap();
        refused(empty, Kind::Fixed, "size");
        refused(Segment::live(8).unwrap().0, Kind::Fixed, "written");
        let (fixed, _) = Segment::fixed(b"x").unwrap();
        let error = Segment::open(fixed.as_fd(), Kind::Live).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(Segment::live(usize::MAX).is_err());
        assert!(Segment::live(isize::MAX as usize).is_err());
    }
}
