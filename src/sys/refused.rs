//! The name of a system call that is refused, which the system's own words do not say.

use std::io;

/// What `call` has failed with; if the system refuses such calls (rights, a filter, an old kernel), it says which.
pub(crate) fn refused<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> io::Error {
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
