//! Memory files: memory that has a descriptor, and no name. Here they are files for temporary data
//! that are unlinked at once.
//!
//! No descriptor travels to another process here (`handover`), and none is inherited: so whatever
//! is mapped was made by this process, and its code does not resize it, nor write to what is
//! [sealed](seal). Who else could open the file in the instant that it has a name is its own user,
//! who may do anything to this process.
//!
//! - **Y54** Nothing is done to the pages.
//!
//! **Rejected.** `shm_open`: on macOS such a file cannot be written to but through a mapping, and
//! two of them cannot be told apart.
//!
//! Tests: below; `sys::mapping`, `tests/process/shared.rs`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
// A counter: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::Resource;

use crate::sys::limits;

/// How much is written at once.
const PAGES: usize = 64 << 10;

/// A memory file of `length` bytes, all zero.
pub(crate) fn create(name: &str, length: usize) -> io::Result<OwnedFd> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    fits(length)?;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let folder = std::env::temp_dir();
    let file = loop {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}-{}-{number}", std::process::id()));
        match options.open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                break file;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                let words = format!("no memory file in {}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), words));
            }
        }
    };
    file.set_len(length as u64)?;
    Ok(file.into())
}

/// The same, whose size does not change.
pub(crate) fn create_sealed(name: &str, length: usize) -> io::Result<OwnedFd> {
    create(name, length)
}

/// The same, all of whose pages are there.
pub(crate) fn create_reserved(name: &str, length: usize) -> io::Result<OwnedFd> {
    fits(length)?;
    let file = File::from(create(name, 0)?);
    let zeros = vec![0; PAGES];
    for from in (0..length).step_by(PAGES) {
        file.write_all_at(&zeros[..PAGES.min(length - from)], from as u64)?;
    }
    Ok(file.into())
}

/// This process's files may be so long: otherwise a signal would say that they may not.
fn fits(length: usize) -> io::Result<()> {
    let limit = limits::limit(Resource::Fsize)
        .ok()
        .and_then(|limit| limit.current);
    match limit.is_some_and(|limit| length as u64 > limit) {
        true => Err(Errno::FBIG.into()),
        false => Ok(()),
    }
}

/// It does not change from now on.
pub(crate) fn seal(_file: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// Its size does not become less: it is this process's own.
pub(crate) fn check(_file: BorrowedFd<'_>, _fixed: bool) -> Result<(), &'static str> {
    Ok(())
}

/// The same file, open for reading only: that would be for another process.
pub(crate) fn reader(_file: &OwnedFd) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the pages from `start` on be there: not here.
///
/// # Safety
/// Y54: none.
pub(crate) unsafe fn populate(_start: *mut u8, _length: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives the pages from `start` on back to the system: not here.
///
/// # Safety
/// Y54: none.
pub(crate) unsafe fn give_back(_start: *mut u8, _length: usize) {}

/// How long it is.
pub(crate) fn length(file: BorrowedFd<'_>) -> io::Result<usize> {
    Ok(usize::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

pub(crate) use rustix::param::page_size;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_has_no_name_and_no_other_process_has_it() {
        let before = names();
        let one = File::from(create("trefoil-nameless", 5).unwrap());
        let two = File::from(create_reserved("trefoil-nameless", PAGES + 1).unwrap());
        assert_eq!(names(), before);
        one.write_all_at(b"hello", 0).unwrap();
        let mut bytes = [1; 5];
        two.read_exact_at(&mut bytes, PAGES as u64 - 4).unwrap();
        assert_eq!(bytes, [0; 5]);
        assert_eq!(two.metadata().unwrap().len(), PAGES as u64 + 1);
    }

    fn names() -> usize {
        let all = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let ours = all.filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with(".trefoil-nameless")
        });
        ours.count()
    }
}
