//! Names the system call that was refused, because the system's own message does not.

use std::io;

use rustix::io::Errno;

/// The error of `call`; if the system refuses such calls, its message names the call.
pub fn refused<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
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

/// The error of `call`, which its message names: where a limit of the system is likely, and no code
/// asks for its number.
pub fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = refused(call)(error);
        match error.raw_os_error() {
            Some(_) => io::Error::new(error.kind(), format!("{call}: {error}")),
            None => error,
        }
    }
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
