//! Free memory is unknown on these systems, so every length that a buffer can have is accepted.

use std::io;

/// An error if the machine has no room for `length` bytes. A lack of memory shows only when they
/// are filled.
pub fn check(length: usize) -> io::Result<()> {
    match isize::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
