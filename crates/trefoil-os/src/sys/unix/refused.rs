//! Names the system call that was refused, because the system's own message does not.

use std::io;

use rustix::io::Errno;

/// The error of `call`; if the system refuses such calls (rights, a filter, an old kernel), it
/// names the call.
pub fn refused<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
                io::Error::new(error.kind(), format!("the system refuses {call}: {error}"))
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
