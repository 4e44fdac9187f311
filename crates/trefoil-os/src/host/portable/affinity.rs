//! The processors on which a process may run: this system has no call that limits it to a set, or
//! none that is used here.

use std::io;

/// It cannot be made.
#[derive(Debug)]
pub struct Pinned(());

/// # Errors
/// Always: it is not supported.
pub fn pin(_processors: &[usize]) -> io::Result<Pinned> {
    let message = "this system does not limit a process to a set of processors";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}
