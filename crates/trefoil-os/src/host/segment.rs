//! Memory for numbers that several processes share: filled once, or written by all.
//!
//! **Job.** A segment is a memory file, which is mapped whole ([`open`]). There are two kinds:
//!
//! - *Fixed*: filled before it is mapped, then sealed forever against every write, by any process,
//!   through any descriptor or mapping. So its bytes may be borrowed as `&[u8]`.
//! - *Writable*: written by all processes that have it, so it is only ever accessed as atomics. Its
//!   pages are reserved when it is made: no access finds that there is no memory left (`SIGBUS`).
//!
//! A size that does not fit into this machine's memory is an error before anything is allocated
//! (`free_memory`).
//!
//! **Invariants.**
//! - **H61** The file of a fixed segment is sealed against writing, from before it is mapped on.
//!   The kernel refuses that seal while a writable mapping exists, and writable mappings and writes
//!   after it. So its bytes never change. (Where there are no seals, no other process has the file:
//!   `memory_file`.)
//!
//! **Rejected.** A mapping of a file in `/dev/shm`: it has a name, which stays when its maker dies,
//! and every process that knows it can truncate it. Filling through a mapping: twice the page
//! faults of `write`.
//!
//! Tests: below; `tests/process/shared.rs`, `tests/process/memory.rs`.

use std::fs::File;
use std::io;

use crate::host::mapping::{Access, Mapping, length_of, refused};
use crate::host::{free_memory, memory_file};
use crate::sys::descriptor::{BorrowedFile, OwnedFile};
use crate::sys::files;

/// A fixed segment with a copy of `bytes`. (One byte, if there are none.)
pub fn fixed(bytes: &[u8]) -> io::Result<OwnedFile> {
    let mut filling = Filling::new(bytes.len().max(1))?;
    filling.push(bytes)?;
    filling.seal()
}

/// A fixed segment that is being filled from its beginning.
#[derive(Debug)]
pub struct Filling {
    file: File,
    filled: usize,
    length: usize,
}

impl Filling {
    /// A segment of `length` bytes, which are zero until they are filled.
    pub fn new(length: usize) -> io::Result<Self> {
        free_memory::check(length)?;
        Ok(Self {
            file: memory_file::create("trefoil-shared", length)?.into(),
            filled: 0,
            length,
        })
    }

    /// Appends these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.length - self.filled {
            return Err(io::ErrorKind::InvalidData.into());
        }
        files::write_all_at(&self.file, bytes, self.filled as u64)?;
        self.filled += bytes.len();
        Ok(())
    }

    /// Whether there is room for no more.
    pub fn is_full(&self) -> bool {
        self.filled == self.length
    }

    /// Seals it: it never changes from now on.
    pub fn seal(self) -> io::Result<OwnedFile> {
        memory_file::seal(&self.file)?;
        Ok(self.file.into())
    }
}

/// A writable segment of `length` bytes, all of them zero. (One byte, if there are to be none.)
pub fn writable(length: usize) -> io::Result<OwnedFile> {
    let length = length.max(1);
    free_memory::check(length)?;
    memory_file::create_reserved("trefoil-atomics", length)
}

/// `Ok` if the descriptor, which may come from anywhere, is one of memory that can be mapped, and
/// if `fixed`, of memory that never changes.
pub fn check(file: BorrowedFile<'_>, fixed: bool) -> io::Result<()> {
    memory_file::check(file, fixed).map_err(refused)
}

/// Maps all of the memory of a descriptor that may come from anywhere.
pub fn open(file: BorrowedFile<'_>, access: Access) -> io::Result<Mapping> {
    // If the length could still change, the mapping is refused.
    let length = length_of(file)?;
    Mapping::new(file, 0..length, access)
}

#[cfg(all(test, target_os = "linux", not(trefoil_port)))]
#[allow(unsafe_code)]
mod tests {
    use rustix::fs::{MemfdFlags, SealFlags};

    use super::*;
    use crate::host::memory_file::create;
    use crate::sys::descriptor::AsFile;

    const RESIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

    fn bytes(segment: &Mapping) -> &[u8] {
        // SAFETY: H22, H61: the tests ask for fixed ones only.
        unsafe { std::slice::from_raw_parts(segment.at(0), segment.length()) }
    }

    #[test]
    fn a_fixed_segment_cannot_be_changed() {
        let memory = fixed(b"hello").unwrap();
        let segment = open(memory.as_file(), Access::Fixed).unwrap();
        assert_eq!(bytes(&segment), b"hello");
        let same = open(memory.as_file(), Access::Fixed).unwrap();
        drop(segment);
        assert_eq!(bytes(&same), b"hello");
        assert!(rustix::io::pwrite(&memory, b"j", 0).is_err());
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        assert!(Mapping::new(memory.as_file(), 0..1, Access::Write).is_err());
        let empty = open(fixed(b"").unwrap().as_file(), Access::Fixed).unwrap();
        assert_eq!(empty.length(), 1);
    }

    /// Kernels before 6.7 refuse a shared mapping of a fixed one; this kernel may be newer.
    #[test]
    fn a_fixed_segment_is_mapped_privately_and_a_writable_one_is_shared() {
        let one = open(fixed(b"hello").unwrap().as_file(), Access::Fixed).unwrap();
        let other = open(writable(5).unwrap().as_file(), Access::Write).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for (segment, flags) in [(one, "r--p"), (other, "rw-s")] {
            let start = format!("{:x}-", segment.at(0) as usize);
            let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(line.contains(flags), "{line}");
        }
    }

    /// Its length exceeds 32 bits, and no page is allocated before it is accessed.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_sparse_segment_may_be_larger_than_four_gibibytes() {
        const LENGTH: u64 = (4 << 30) + 1;
        let memory = rustix::fs::memfd_create("sparse", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&memory, LENGTH).unwrap();
        rustix::io::pwrite(&memory, b"z", LENGTH - 1).unwrap();
        rustix::fs::fcntl_add_seals(&memory, RESIZE | SealFlags::WRITE).unwrap();
        let segment = open(memory.as_file(), Access::Fixed).unwrap();
        assert_eq!(segment.length() as u64, LENGTH);
        assert_eq!(bytes(&segment).last(), Some(&b'z'));
        assert_eq!(bytes(&segment)[3 << 30], 0);
        let taken = rustix::fs::fstat(&memory).unwrap().st_blocks * 512;
        assert!(taken < 8 << 20, "{taken} bytes taken");
    }

    #[test]
    fn it_is_not_executable() {
        for memory in [fixed(b"x").unwrap(), writable(1).unwrap()] {
            let mode = rustix::fs::fstat(&memory).unwrap().st_mode;
            // Old kernels do not have this flag.
            let old = rustix::fs::memfd_create("x", MemfdFlags::NOEXEC_SEAL).is_err();
            assert!(old || mode & 0o111 == 0, "{mode:o}");
        }
    }

    #[test]
    fn what_is_not_sealed_is_not_mapped() {
        let refused = |memory: OwnedFile, kind, word: &str| {
            let error = open(memory.as_file(), kind).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        };
        let file = File::open("/proc/self/exe").unwrap();
        refused(file.into(), Access::Fixed, "not a memory file");
        refused(
            io::pipe().unwrap().0.into(),
            Access::Write,
            "not a memory file",
        );
        refused(create("open", 9).unwrap(), Access::Write, "resized");
        let half = create("half", 9).unwrap();
        rustix::fs::fcntl_add_seals(&half, SealFlags::GROW | SealFlags::WRITE).unwrap();
        refused(half, Access::Fixed, "resized");
        let empty = create("empty", 0).unwrap();
        rustix::fs::fcntl_add_seals(&empty, RESIZE | SealFlags::WRITE).unwrap();
        refused(empty, Access::Fixed, "size");
        refused(writable(8).unwrap(), Access::Fixed, "written");
        let fixed = fixed(b"x").unwrap();
        let error = open(fixed.as_file(), Access::Write).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(writable(usize::MAX).is_err());
        // With 32 bits that is 2 GiB, which this machine may well have.
        #[cfg(target_pointer_width = "64")]
        assert!(writable(isize::MAX as usize).is_err());
    }
}
