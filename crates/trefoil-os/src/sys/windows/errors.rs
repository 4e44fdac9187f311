//! What the system's errors mean.

use std::io;

use rustix::io::Errno;

/// Whether the system refuses such calls altogether.
pub(in crate::sys) fn refuses(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

/// Whether the system has no room for one more socket, or refuses the call.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NOBUFS | Errno::ACCESS)
    )
}

/// Whether the system has no room for what was sent. No event reports when it has room again.
pub fn is_crowded(error: Errno) -> bool {
    matches!(error, Errno::NOBUFS)
}

/// Whether the other end is closed.
pub fn is_gone(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNRESET | Errno::CONNABORTED | Errno::SHUTDOWN
    )
}

/// Whether the system refuses such calls altogether.
pub fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ACCESS)
}
