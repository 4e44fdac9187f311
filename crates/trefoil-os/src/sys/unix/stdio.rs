//! Standard streams, as open files that this process alone uses where that is possible.
//!
//! They may be files of any kind, and other processes share them and expect them to block: the
//! flag that makes an open file non-blocking must not be set on them.
//!
//! Tests: `tests/io/standard.rs`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::Errno;

use crate::sys::reopen::reopen;

/// How a standard stream is used.
#[derive(Debug)]
pub enum StandardStream {
    /// The stream can be polled. `true`: it is a socket.
    Polled(OwnedFd, bool),
    /// Each call may block.
    Blocking(File),
}

/// Opens standard input (0), output (1) or error (2).
pub fn open(number: u8) -> io::Result<StandardStream> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let (fd, access, name) = match number {
        0 => (input.as_fd(), OFlags::RDONLY, "input"),
        1 => (output.as_fd(), OFlags::WRONLY, "output"),
        _ => (error.as_fd(), OFlags::WRONLY, "error"),
    };
    let explained = |error: Errno| match error {
        Errno::BADF => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("standard {name} is closed"),
        ),
        error => error.into(),
    };
    let mode = fcntl_getfl(fd).map_err(explained)? & OFlags::RWMODE;
    if mode != access && mode != OFlags::RDWR {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("standard {name} was opened for the other direction"),
        ));
    }
    let stat = fstat(fd).map_err(explained)?;
    // A socket cannot be opened again, but each call on it can ask not to wait. (On macOS, sending
    // calls cannot.)
    let asks = number == 0 || !cfg!(target_vendor = "apple");
    if asks && FileType::from_raw_mode(stat.st_mode) == FileType::Socket {
        return Ok(StandardStream::Polled(fd.try_clone_to_owned()?, true));
    }
    Ok(match reopen(number, access, &stat) {
        Some(fd) => StandardStream::Polled(fd, false),
        None => StandardStream::Blocking(fd.try_clone_to_owned()?.into()),
    })
}

/// The null device.
pub const NULL: &str = "/dev/null";

/// How many bytes wait to be read in standard error, which is a pipe.
pub fn complaints() -> u64 {
    rustix::io::ioctl_fionread(io::stderr()).unwrap_or(0)
}

/// The null device, open for writing.
pub fn null() -> io::Result<File> {
    File::options().write(true).open(NULL)
}
