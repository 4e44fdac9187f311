//! What a channel between processes is made of: a pipe with room for all of its records, a
//! semaphore, a file.
//!
//! Tests: `tests/process/channel.rs`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Result;
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

use crate::sys::memory_file;

/// A pipe with room for so many bytes: its read end, then its write end. `None`: the system gives
/// this user no such pipe.
pub(crate) fn pipe(room: usize) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if fcntl_getpipe_size(&write)? < room {
        // Refused if it is more than the system's limit, or if the user has very many pipes.
        let _ = fcntl_setpipe_size(&write, room);
        if fcntl_getpipe_size(&write)? < room {
            return Ok(None);
        }
    }
    Ok(Some((read, write)))
}

/// A semaphore: each read of eight bytes takes one credit, and each write of the number one gives
/// one.
pub(crate) fn credits(count: u32) -> io::Result<OwnedFd> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
    Ok(eventfd(count, flags)?)
}

/// A file for items that are too large for a record.
pub(crate) fn file() -> io::Result<OwnedFd> {
    memory_file::create("trefoil-channel", 0)
}

/// Gives a part of the file back to the system, in whole pages.
pub(crate) fn release(file: impl AsFd, offset: u64, length: u64) {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, flags, offset, length);
}

/// A lock: of all processes that have the file, only one can hold it at a time. If that process
/// dies, the kernel releases it.
pub(crate) fn only_one(file: impl AsFd) -> Result<OwnedFd> {
    // A lock belongs to an open file description, and the ends share one, so the file is opened
    // again.
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
