//! Calls on files that `std` offers only in system-specific form.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::io::retry_on_intr;
use rustix::process::Resource;

use crate::sys::limits;

/// Reads bytes at the file's current position.
pub fn read(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::read(file, &mut *bytes))?)
}

/// Writes bytes at the file's current position; returns how many the system has taken.
pub fn write(file: &File, bytes: &[u8]) -> io::Result<usize> {
    Ok(retry_on_intr(|| rustix::io::write(file, bytes))?)
}

/// Writes all bytes at `offset`.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Makes `link` a symbolic link to `original`.
pub fn symlink(original: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}

/// What distinguishes two files at the same path.
pub fn numbers(file: &Metadata) -> [u64; 5] {
    let (seconds, nanos) = (file.mtime() as u64, file.mtime_nsec() as u64);
    [file.dev(), file.ino(), file.size(), seconds, nanos]
}

/// The length of the file.
pub fn length(file: impl AsFd) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// How many descriptors this process may have open.
pub fn most_open() -> usize {
    let limit = limits::limit(Resource::Nofile).ok();
    let most = limit.and_then(|limit| limit.current);
    most.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    })
}

/// How long a file of this process may be. A write beyond it raises a signal that ends the process.
pub fn longest() -> u64 {
    let limit = limits::limit(Resource::Fsize).ok();
    limit.and_then(|limit| limit.current).unwrap_or(u64::MAX)
}

/// Identifies the file behind a descriptor, as long as it is open anywhere: its device and its
/// inode number.
#[allow(clippy::unnecessary_cast)] // other systems have narrower or signed numbers
pub fn identity(file: impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}
