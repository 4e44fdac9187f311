//! The name of a system call that is refused, which the system's own words do not say.

use std::io;

use rustix::io::Errno;

/// What `call` has failed with; if the system refuses such calls, it says which.
pub(crate) fn refused<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        match error.kind() {
            kind @ (io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                io::Error::new(kind, format!("the system refuses {call}: {error}"))
            }
            _ => error,
        }
    }
}

/// No room for a socket more; or the system refuses the call.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NOBUFS | Errno::ACCESS)
    )
}

/// The system has no room for what is on its way, and nothing tells when it has.
pub(crate) fn is_crowded(error: Errno) -> bool {
    matches!(error, Errno::NOBUFS)
}

/// The other end is gone.
pub(crate) fn is_gone(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNRESET | Errno::CONNABORTED | Errno::SHUTDOWN
    )
}

/// Such calls are refused in any case.
pub(crate) fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ACCESS)
}
