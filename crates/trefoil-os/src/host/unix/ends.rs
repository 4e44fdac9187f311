//! Operations on the files of a channel's ends.
//!
//! Tests: `tests/process/channel.rs`.

use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, OFlags};
use rustix::io::{Result, retry_on_intr};

/// Whether the file is the write end of a pipe (`writes`), or else its read end.
pub fn is_pipe(end: impl AsFd, writes: bool) -> Result<bool> {
    let mode = if writes {
        OFlags::WRONLY
    } else {
        OFlags::RDONLY
    };
    let stat = rustix::fs::fstat(&end)?;
    let flags = rustix::fs::fcntl_getfl(&end)?;
    let is_pipe = FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    Ok(is_pipe && flags & OFlags::ACCMODE == mode)
}

/// Makes the end non-blocking.
pub fn unblock(end: impl AsFd) -> Result<()> {
    rustix::io::ioctl_fionbio(end, true)
}

/// How many bytes can be read.
pub fn waiting(end: impl AsFd) -> u64 {
    rustix::io::ioctl_fionread(end).unwrap_or(0)
}

/// Reads what is there. Returns how many bytes came.
pub fn read(end: impl AsFd, bytes: &mut [u8]) -> Result<usize> {
    retry_on_intr(|| rustix::io::read(&end, &mut *bytes))
}

/// Writes what there is room for. Returns how many bytes went.
pub fn write(end: impl AsFd, bytes: &[u8]) -> Result<usize> {
    retry_on_intr(|| rustix::io::write(&end, bytes))
}

/// Reads from `offset` on, into the spare capacity of `bytes`. Returns how many bytes came.
pub fn append_at(file: impl AsFd, bytes: &mut Vec<u8>, offset: u64) -> Result<usize> {
    retry_on_intr(|| rustix::io::pread(&file, spare_capacity(bytes), offset))
}
