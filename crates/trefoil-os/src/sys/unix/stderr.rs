//! Writes to standard error.
//!
//! Without the lock of [`std::io::stderr`]: a process that is forked while this thread waits for a
//! reader would find that locked for ever.
//!
//! - **Y55** A write reads a slice that is borrowed for the call; `poll` changes one `pollfd`,
//!   which is borrowed mutably for the call. Neither minds a closed descriptor.
//!
//! Tests: `tests/process/unread.rs`.
#![allow(unsafe_code)]

use std::io;
use std::thread::sleep;
use std::time::Duration;

use libc::{EAGAIN, EINTR, POLLOUT, STDERR_FILENO, pollfd};

/// The most bytes of one write: it may be a socket that keeps messages apart, and refuses long
/// ones.
const PART: usize = 8 << 10;

/// How long to sleep if the system refuses to wait.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes all of `words` to standard error, however long that takes: on a thread that may block.
pub fn write_all(mut words: &[u8]) -> io::Result<()> {
    while !words.is_empty() {
        match write_some(words)? {
            Some(count) => words = &words[count..],
            None => wait_for_room(),
        }
    }
    Ok(())
}

/// Writes `words` to standard error; what a non-blocking one has no room for now is lost.
pub fn write_now(mut words: &[u8]) {
    while !words.is_empty()
        && let Ok(Some(count)) = write_some(words)
    {
        words = &words[count..];
    }
}

/// Writes the first of `words`, and returns how many bytes these are. `None`: there is no room now,
/// because another process that has the same open file has made it non-blocking.
fn write_some(words: &[u8]) -> io::Result<Option<usize>> {
    let part = &words[..words.len().min(PART)];
    loop {
        // SAFETY: Y55.
        let count = unsafe { libc::write(STDERR_FILENO, part.as_ptr().cast(), part.len()) };
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if let Ok(count) = usize::try_from(count) {
            return Ok(Some(count));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(EINTR) => {}
            Some(EAGAIN) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Waits until there may be room. (The older of the two calls is allowed everywhere: `sys::poll`.)
fn wait_for_room() {
    let mut stderr = pollfd {
        fd: STDERR_FILENO,
        events: POLLOUT,
        revents: 0,
    };
    // SAFETY: Y55.
    let count = unsafe { libc::poll(&raw mut stderr, 1, -1) };
    if count < 0 {
        sleep(PAUSE); // for example because this process may open no descriptors
    }
}
