//! Our end of a pipe to a child: the pipe itself, in non-blocking mode.
//!
//! The child's end is a different open file, whose flags stay as programs expect them.
//!
//! Tests: `tests/io/children.rs`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;

use rustix::io::ioctl_fionbio;

use crate::sys::refused::failed;

/// Whether the end is a socket.
pub const IS_SOCKET: bool = false;

/// Our end of a pipe.
#[derive(Debug)]
pub struct PipeEnd(File);

impl PipeEnd {
    /// The read end of a pipe to which a child writes.
    pub fn reader(end: impl Into<OwnedFd>) -> io::Result<Self> {
        let end = end.into();
        ioctl_fionbio(&end, true)?;
        Ok(Self(end.into()))
    }

    /// The write end of a pipe from which a child reads.
    pub fn writer(end: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::reader(end)
    }

    /// How many bytes can be read.
    pub fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.0).unwrap_or(0)
    }

    /// This end as the standard stream of another child: blocking, as most programs expect.
    pub fn to_stdio(&self) -> io::Result<Stdio> {
        let fd = self.0.as_fd().try_clone_to_owned()?;
        ioctl_fionbio(&fd, false)?;
        Ok(fd.into())
    }
}

/// A pipe for the output of a worker: our end, and the worker's.
pub fn pair() -> io::Result<(PipeEnd, OwnedFd)> {
    let (ours, theirs) = io::pipe().map_err(failed("pipe2"))?;
    Ok((PipeEnd::reader(ours)?, theirs.into()))
}

impl AsFd for PipeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
