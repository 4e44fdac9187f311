//! Memory files: memory that has a descriptor and no name. On these systems they are temporary
//! files that are unlinked at once. On Windows the file is deleted when it is closed, and no other
//! code can open it before.
//!
//! No descriptor travels to another process here (`handover`), and none is inherited. So this
//! process has made every file that it maps, and its code does not resize a file, nor write to one
//! that is [sealed](seal). While the file has a name, only this user's processes can open it, and
//! they can harm this process anyway.
//!
//! - **H54** The functions for pages do nothing.
//!
//! **Rejected.** `shm_open`: on macOS such a file can be written to only through a mapping, and two
//! of them have no numbers that differ.
//!
//! Tests: below; `host::mapping`, `tests/process/shared.rs`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
// A counter: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

use crate::host::disk::{free, may_be, nameless};
use crate::sys::descriptor::{AsFile, BorrowedFile, OwnedFile};
use crate::sys::files;

/// How many bytes are written at once.
const PAGES: usize = 64 << 10;

/// A memory file of `length` bytes, all zero.
pub fn create(name: &str, length: usize) -> io::Result<OwnedFile> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let folder = std::env::temp_dir();
    fits(&folder, length)?;
    let file = loop {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}-{}-{number}", std::process::id()));
        match nameless(&path) {
            Ok(file) => break file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let message = format!("cannot make a memory file in {}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), message));
            }
        }
    };
    file.set_len(length as u64)?;
    Ok(file.into())
}

/// A memory file of `length` bytes, all zero, whose size does not change.
pub fn create_sealed(name: &str, length: usize) -> io::Result<OwnedFile> {
    create(name, length)
}

/// A memory file of `length` bytes, all zero, for which the disk has reserved room.
pub(crate) fn create_reserved(name: &str, length: usize) -> io::Result<OwnedFile> {
    fits(&std::env::temp_dir(), length)?;
    let file = File::from(create(name, 0)?);
    let zeros = vec![0; PAGES];
    for from in (0..length).step_by(PAGES) {
        files::write_all_at(&file, &zeros[..PAGES.min(length - from)], from as u64)?;
    }
    Ok(file.into())
}

/// Checks that there is room for a file of this length, because otherwise the disk would fill up
/// before the error shows. (For a short file the error shows at the first write.)
fn fits(folder: &Path, length: usize) -> io::Result<()> {
    may_be(length)?;
    if length <= PAGES {
        return Ok(());
    }
    if free(folder).is_ok_and(|free| length as u64 > free) {
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "there is no room for {length} bytes in {}",
                folder.display()
            ),
        ))
    } else {
        Ok(())
    }
}

/// Declares that the file's content does not change from now on.
pub(crate) fn seal(_file: impl AsFile) -> io::Result<()> {
    Ok(())
}

/// Checks that no code can shorten the file. Only this process has it, so none can.
pub fn check(_file: BorrowedFile<'_>, _fixed: bool) -> Result<(), &'static str> {
    Ok(())
}

/// Opens the file for reading only: another process would need that, so it is unsupported here.
pub fn reader(_file: &OwnedFile) -> io::Result<OwnedFile> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Allocates the pages from `start` on: unsupported here.
///
/// # Safety
/// H54: nothing is required.
pub unsafe fn populate(_start: *mut u8, _length: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives the pages from `start` on back to the system: does nothing here.
///
/// # Safety
/// H54: nothing is required.
pub unsafe fn give_back(_start: *mut u8, _length: usize) {}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read, Seek, SeekFrom};
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_is_written_is_there_and_the_rest_is_zero() {
        let mut one = File::from(create("trefoil-bytes", 9).unwrap());
        files::write_all_at(&one, b"hello", 0).unwrap();
        let mut two = File::from(create_reserved("trefoil-bytes", PAGES + 1).unwrap());
        let mut bytes = Vec::new();
        one.seek(SeekFrom::Start(0)).unwrap();
        one.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"hello\0\0\0\0");
        assert_eq!(two.metadata().unwrap().len(), PAGES as u64 + 1);
        let mut bytes = [1; 5];
        two.seek(SeekFrom::Start(PAGES as u64 - 4)).unwrap();
        two.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 5]);
    }

    #[test]
    fn nobody_finds_it_by_a_name() {
        let one = create("trefoil-nameless", 5).unwrap();
        // (On Windows it has a name until it is closed, but cannot be opened.)
        let found = names()
            .iter()
            .filter(|name| File::open(name).is_ok())
            .count();
        assert_eq!((found, names().len()), (0, usize::from(cfg!(windows))));
        drop(one);
        assert_eq!(names(), [PathBuf::new(); 0]);
    }

    /// The paths of this process's files.
    fn names() -> Vec<PathBuf> {
        let own = format!(".trefoil-nameless-{}-", std::process::id());
        let all = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let ours = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own));
        ours.map(|entry| entry.path()).collect()
    }
}
