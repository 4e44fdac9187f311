//! Calls on files that `std` has for each system alone.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// Reads what is there at this position of the file's.
pub(crate) fn read(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| {
        rustix::io::read(file, &mut *bytes)
    })?)
}

/// Reads what is there at `offset`, and leaves the position as it is.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(bytes, offset)
}

/// Writes at `offset`, and leaves the position as it is.
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    file.write_at(bytes, offset)
}

pub(crate) fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

/// The rights of new directories.
pub(crate) fn set_mode(builder: &mut DirBuilder, mode: u32) {
    builder.mode(mode);
}
