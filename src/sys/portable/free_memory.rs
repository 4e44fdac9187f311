//! Whether there is room in this machine for so much more memory: nobody says.

use std::io;

/// An error if there is no room for `length` bytes: that is seen when they are filled.
pub(crate) fn check(length: usize) -> io::Result<()> {
    match isize::try_from(length) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::ErrorKind::OutOfMemory.into()),
    }
}
