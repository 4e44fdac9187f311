//! Memory files: files for temporary data that go when they are closed, and that nobody else can
//! open meanwhile.
//!
//! No handle travels to another process here (`handover`), and none is inherited: so whatever is
//! mapped was made by this process, and its code does not resize it, nor write to what is
//! [sealed](seal).
//!
//! - **Y73** `GetSystemInfo` fills in what it is given. Nothing is done to pages.
//!
//! Tests: `tests/process/shared.rs`, under Wine.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::OwnedHandle;
use std::sync::OnceLock;
// A counter: no protocol.
use std::sync::atomic::{AtomicU64, Ordering};

use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, SYSTEM_INFO};

use super::descriptor::{AsFile, BorrowedFile};
use super::files;

/// How much is written at once.
const PAGES: usize = 64 << 10;

/// A memory file of `length` bytes, all zero.
pub(crate) fn create(name: &str, length: usize) -> io::Result<OwnedHandle> {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    options.share_mode(0).attributes(FILE_ATTRIBUTE_TEMPORARY);
    options.custom_flags(FILE_FLAG_DELETE_ON_CLOSE);
    let folder = std::env::temp_dir();
    let file = loop {
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{name}-{}-{number}.tmp", std::process::id()));
        match options.open(&path) {
            Ok(file) => break file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
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
pub(crate) fn create_sealed(name: &str, length: usize) -> io::Result<OwnedHandle> {
    create(name, length)
}

/// The same, all of whose pages are there.
pub(crate) fn create_reserved(name: &str, length: usize) -> io::Result<OwnedHandle> {
    let file = File::from(create(name, 0)?);
    let zeros = vec![0; PAGES];
    for from in (0..length).step_by(PAGES) {
        files::write_all_at(&file, &zeros[..PAGES.min(length - from)], from as u64)?;
    }
    Ok(file.into())
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
pub(crate) fn reader(_file: &OwnedHandle) -> io::Result<OwnedHandle> {
    Err(ErrorKind::Unsupported.into())
}

/// How long it is.
pub(crate) fn length(file: BorrowedFile<'_>) -> io::Result<usize> {
    let length = File::from(file.try_clone_to_owned()?).metadata()?.len();
    Ok(usize::try_from(length).unwrap_or(0))
}

/// Where a mapping may begin: at multiples of this, which are larger than pages here.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let mut info = SYSTEM_INFO::default();
        // SAFETY: Y73: it is in this frame.
        unsafe { GetSystemInfo(&raw mut info) };
        info.dwAllocationGranularity as usize
    })
}

/// Makes the pages from `start` on be there: not here.
///
/// # Safety
/// Y73: none.
pub(crate) unsafe fn populate(_start: *mut u8, _length: usize) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Gives the pages from `start` on back to the system: not here.
///
/// # Safety
/// Y73: none.
pub(crate) unsafe fn give_back(_start: *mut u8, _length: usize) {}
