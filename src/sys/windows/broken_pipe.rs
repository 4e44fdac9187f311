//! A write without a reader is an error here, and nothing else.

use rustix::io::Errno;

/// Never.
pub(crate) fn is_deadly() -> bool {
    false
}

/// There is nothing to ignore.
pub(crate) fn ignore() {}

/// Does what `write` does.
pub(crate) fn quietly<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    write()
}
