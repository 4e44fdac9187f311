//! A write without a reader is only an error on this system: it raises no signal.

use rustix::io::Errno;

/// Whether a write without a reader ends the process: never here.
pub fn is_deadly() -> bool {
    false
}

/// Has nothing to ignore on this system.
pub fn ignore() {}

/// Calls `write` and returns its result.
pub fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    write()
}
