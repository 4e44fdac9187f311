//! What the system's errors mean.

use std::io;

use rustix::io::Errno;

/// Whether the system refuses such calls altogether (rights, a filter, an old kernel).
pub(in crate::sys) fn refuses(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(is_refusal)
}

/// Whether there are no descriptors, or no memory for one, or the system refuses the call.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
            | Some(Errno::PERM | Errno::ACCESS | Errno::NOSYS)
    )
}

/// Whether the system has no room for what was sent. No event reports when it has room again.
#[inline]
pub fn is_crowded(error: Errno) -> bool {
    matches!(error, Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM)
}

/// Whether the other end is closed.
#[inline]
pub fn is_gone(error: Errno) -> bool {
    matches!(error, Errno::PIPE | Errno::CONNRESET)
}

/// Whether the system refuses such calls altogether.
#[inline]
pub fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::PERM | Errno::ACCESS | Errno::NOSYS)
}
