//! Writes to standard error, on a thread that may block.
//!
//! Without the lock of [`std::io::stderr`]: a process that is forked while this thread waits for a
//! reader would find that locked for ever.
//!
//! Tests: `tests/process/unread.rs`.

use std::io;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::poll::poll_patiently;

/// The most bytes of one write: it may be a socket that keeps messages apart, and refuses long
/// ones.
const PART: usize = 8 << 10;

/// Writes all of `words` to standard error, however long that takes.
pub fn write_all(mut words: &[u8]) -> io::Result<()> {
    let stderr = io::stderr();
    while !words.is_empty() {
        match rustix::io::write(&stderr, &words[..words.len().min(PART)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => words = &words[count..],
            Err(Errno::INTR) => {}
            // Another process that has the same open file has made it non-blocking.
            Err(Errno::AGAIN) => {
                poll_patiently(&mut [PollFd::new(&stderr, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
