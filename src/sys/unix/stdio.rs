//! Standard streams, as open files of this process alone where that is possible.
//!
//! They may be files of any kind, and other processes share them and expect them to block: the
//! flag that makes an open file non-blocking must not be set on them.
//!
//! Tests: `tests/event_loop/standard.rs`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

use crate::sys::reopen::reopen;

/// What a standard stream is used through.
pub(crate) enum Stream {
    /// It can be waited for. `true`: it is a socket.
    Waits(OwnedFd, bool),
    /// Each call may block.
    Blocks(File),
}

/// Standard input (0), output (1) or error.
pub(crate) fn open(number: u8) -> io::Result<Stream> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let (fd, access, name) = match number {
        0 => (input.as_fd(), OFlags::RDONLY, "input"),
        1 => (output.as_fd(), OFlags::WRONLY, "output"),
        _ => (error.as_fd(), OFlags::WRONLY, "error"),
    };
    let in_words = |error: rustix::io::Errno| match error {
        rustix::io::Errno::BADF => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("standard {name} is closed"),
        ),
        error => error.into(),
    };
    let mode = fcntl_getfl(fd).map_err(in_words)? & OFlags::RWMODE;
    if mode != access && mode != OFlags::RDWR {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("standard {name} was opened for the other direction"),
        ));
    }
    let stat = fstat(fd).map_err(in_words)?;
    // A socket cannot be opened again, but each call on it can ask not to wait. (On macOS, calls that send cannot.)
    let asks = number == 0 || !cfg!(target_vendor = "apple");
    if asks && FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
        return Ok(Stream::Waits(fd.try_clone_to_owned()?, true));
    }
    Ok(match reopen(number, access, &stat) {
        Some(fd) => Stream::Waits(fd, false),
        None => Stream::Blocks(fd.try_clone_to_owned()?.into()),
    })
}
