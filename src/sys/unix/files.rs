//! Calls on files that `std` offers only in system-specific form.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// Reads at the file's position.
pub(crate) fn read(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(file, &mut *bytes)
    })?)
}

/// Writes all of it at `offset`.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

pub(crate) fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

/// The rights of new directories.
pub(crate) fn set_mode(builder: &mut DirBuilder, mode: u32) {
    builder.mode(mode);
}

/// How long the file is.
pub(crate) fn length(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// Identifies the file behind a descriptor, as long as it is open anywhere: its device and its
/// inode number.
#[allow(clippy::unnecessary_cast)] // they are narrower, or signed, elsewhere
pub(crate) fn identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}
