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

/// A pipe that has room for so many bytes, the end that is read first. `None`: there is no such
/// pipe for this user.
pub(crate) fn pipe(room: usize) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    if fcntl_getpipe_size(&write)? < room {
        // Refused if the user asks for more than the system's limit, or has very many pipes.
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

/// A file for what is too large for a record.
pub(crate) fn file() -> io::Result<OwnedFd> {
    memory_file::create("trefoil-channel", 0)
}

/// Gives a part of the file back to the system: whole pages.
pub(crate) fn release(file: impl AsFd, offset: u64, length: u64) {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, flags, offset, length);
}

/// Of all that have the file one alone has this at a time. The kernel takes it back from the dead.
pub(crate) fn only_one(file: impl AsFd) -> Result<OwnedFd> {
    // (A lock belongs to an open file, and the ends share one.)
    let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
