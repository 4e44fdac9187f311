//! Memory files: memory that has a descriptor, and no name. Here they are files for temporary data
//! that are unlinked at once; on Windows, files that go when they are closed, and that nobody else
//! can open meanwhile.
//!
//! No descriptor travels to another process here (`handover`), and none is inherited: so whatever
//! is mapped was made by this process, and its code does not resize it, nor write to what is
//! [sealed](seal). Who else could open the file in the instant that it has a name is its own user,
//! who may do anything to this process.
//!
//! - **Y54** Nothing is done to the pages. `GetSystemInfo` and `GetDiskFreeSpaceEx` fill in what
//!   they are given.
//!
//! **Rejected.** `shm_open`: on macOS such a file cannot be written to but through a mapping, and
//! two of them cannot be told apart.
//!
//! Tests: below; `sys::mapping`, `tests/process/shared.rs`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(windows)]
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
// A counter: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::descriptor::{AsFile, BorrowedFile, OwnedFile};
use crate::sys::files;

/// How much is written at once.
const PAGES: usize = 64 << 10;

/// A memory file of `length` bytes, all zero.
pub(crate) fn create(name: &str, length: usize) -> io::Result<OwnedFile> {
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
                let words = format!("no memory file in {}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), words));
            }
        }
    };
    file.set_len(length as u64)?;
    Ok(file.into())
}

/// A new file that has had this path.
#[cfg(unix)]
fn nameless(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = options.open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// A new file that has this path until it is closed.
#[cfg(windows)]
fn nameless(path: &Path) -> io::Result<File> {
    use windows_sys::Win32::Storage::FileSystem as system;
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    options.share_mode(0);
    options.attributes(system::FILE_ATTRIBUTE_TEMPORARY);
    options.custom_flags(system::FILE_FLAG_DELETE_ON_CLOSE);
    options.open(path)
}

/// The same, whose size does not change.
pub(crate) fn create_sealed(name: &str, length: usize) -> io::Result<OwnedFile> {
    create(name, length)
}

/// The same, all of whose pages are there.
pub(crate) fn create_reserved(name: &str, length: usize) -> io::Result<OwnedFile> {
    fits(&std::env::temp_dir(), length)?;
    let file = File::from(create(name, 0)?);
    let zeros = vec![0; PAGES];
    for from in (0..length).step_by(PAGES) {
        files::write_all_at(&file, &zeros[..PAGES.min(length - from)], from as u64)?;
    }
    Ok(file.into())
}

/// There is room for a file of this length: otherwise the disk would be full before that is known.
/// (Of a short one, that is known as soon as it is written.)
fn fits(folder: &Path, length: usize) -> io::Result<()> {
    may_be(length)?;
    if length <= PAGES {
        return Ok(());
    }
    match free(folder).is_ok_and(|free| length as u64 > free) {
        true => Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!(
                "there is no room for {length} bytes in {}",
                folder.display()
            ),
        )),
        false => Ok(()),
    }
}

/// This process's files may be so long: otherwise a signal would say that they may not.
#[cfg(unix)]
fn may_be(length: usize) -> io::Result<()> {
    let limit = crate::sys::limits::limit(rustix::process::Resource::Fsize);
    let limit = limit.ok().and_then(|limit| limit.current);
    match limit.is_some_and(|limit| length as u64 > limit) {
        true => Err(rustix::io::Errno::FBIG.into()),
        false => Ok(()),
    }
}

/// There is no such limit.
#[cfg(windows)]
fn may_be(_length: usize) -> io::Result<()> {
    Ok(())
}

/// How many bytes more the disk of this folder takes.
#[cfg(unix)]
fn free(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// How many bytes more the disk of this folder takes.
#[cfg(windows)]
fn free(folder: &Path) -> io::Result<u64> {
    use std::os::windows::ffi::OsStrExt;
    use std::ptr::null_mut;
    use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
    let name: Vec<u16> = folder.as_os_str().encode_wide().chain([0]).collect();
    let mut free = 0;
    // SAFETY: Y54: the name ends with a zero, and the number is in this frame.
    match unsafe { GetDiskFreeSpaceExW(name.as_ptr(), &raw mut free, null_mut(), null_mut()) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(free),
    }
}

/// It does not change from now on.
pub(crate) fn seal(_file: impl AsFile) -> io::Result<()> {
    Ok(())
}

/// Its size does not become less: it is this process's own.
pub(crate) fn check(_file: BorrowedFile<'_>, _fixed: bool) -> Result<(), &'static str> {
    Ok(())
}

/// The same file, open for reading only: that would be for another process.
pub(crate) fn reader(_file: &OwnedFile) -> io::Result<OwnedFile> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Where other processes find the file: nowhere.
pub(crate) fn place(_file: impl AsFile) -> Option<[u32; 2]> {
    None
}

/// The memory file that another process has in this place: there is none.
pub(crate) fn at(_place: [u32; 2]) -> io::Result<OwnedFile> {
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
pub(crate) fn length(file: BorrowedFile<'_>) -> io::Result<usize> {
    Ok(usize::try_from(files::length(file)?).unwrap_or(0))
}

#[cfg(unix)]
pub(crate) use rustix::param::page_size;

/// Where a mapping may begin: at multiples of this, which are larger than pages here.
#[cfg(windows)]
pub(crate) fn page_size() -> usize {
    use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};
    static SIZE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *SIZE.get_or_init(|| {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: Y54: it is in this frame.
        unsafe { GetSystemInfo(&raw mut info) };
        info.dwAllocationGranularity as usize
    })
}

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
        // (On Windows it has a name until it is closed; nobody opens it by that.)
        let found = names()
            .iter()
            .filter(|name| File::open(name).is_ok())
            .count();
        assert_eq!((found, names().len()), (0, usize::from(cfg!(windows))));
        drop(one);
        assert_eq!(names(), [PathBuf::new(); 0]);
    }

    /// Where the files of this process have names.
    fn names() -> Vec<PathBuf> {
        let own = format!(".trefoil-nameless-{}-", std::process::id());
        let all = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        let ours = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own));
        ours.map(|entry| entry.path()).collect()
    }
}
