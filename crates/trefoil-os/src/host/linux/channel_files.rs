//! The files of a channel between processes: a pipe with room for all of its records, a semaphore,
//! and a file for large items.
//!
//! Tests: `tests/process/channel.rs`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Result;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::host::memory_file;

/// A pipe with room for this many bytes: its read end and its write end. `None`: the system does
/// not give this user such a pipe.
pub fn pipe(room: usize) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if fcntl_getpipe_size(&write)? < room {
        // The call is refused if `room` exceeds the system's limit, or if the user has very many
        // pipes.
        let _ = fcntl_setpipe_size(&write, room);
        if fcntl_getpipe_size(&write)? < room {
            return Ok(None);
        }
    }
    Ok(Some((read, write)))
}

/// A semaphore: each read of eight bytes takes one credit, and each write of the number one gives
/// one.
pub fn credits(count: u32) -> io::Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
    Ok(eventfd(count, flags)?)
}

/// A file for items that are too large for a record: `length` zero bytes, which can be mapped. It
/// grows by what is written after them.
pub fn file(length: usize) -> io::Result<OwnedFd> {
    memory_file::create_growing("trefoil-channel", length)
}

/// How many bytes the file holds, in whole pages: its length without its holes.
pub fn held(file: impl AsFd) -> u64 {
    rustix::fs::fstat(file).map_or(0, |stat| stat.st_blocks as u64 * 512)
}

/// Gives a part of the file back to the system, in whole pages.
pub fn release(file: impl AsFd, offset: u64, length: u64) {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, flags, offset, length);
}

/// A lock on the file: only one of the processes that have the file can hold it at a time. If that
/// process dies, the kernel releases it.
pub fn only_one(file: impl AsFd) -> Result<OwnedFd> {
    // A lock belongs to an open file description, and the ends share one, so the file is opened
    // again.
    let file = memory_file::reader(file)?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
