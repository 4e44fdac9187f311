//! Why a pool could not be made.

use std::error::Error;
use std::{fmt, io};

/// Why a [`ThreadPoolBuilder`](crate::ThreadPoolBuilder) made no pool.
#[derive(Debug)]
pub struct ThreadPoolBuildError(pub(crate) Reason);

#[derive(Debug)]
pub(crate) enum Reason {
    /// There is a global pool already.
    Global,
    /// This thread belongs to a pool already.
    Member,
    /// The system has refused a thread.
    Io(io::Error),
}

impl fmt::Display for ThreadPoolBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // In rayon's words, since programs compare them.
            Reason::Global => f.write_str("The global thread pool has already been initialized."),
            Reason::Member => {
                f.write_str("The current thread is already part of another thread pool.")
            }
            Reason::Io(error) => error.fmt(f),
        }
    }
}

impl Error for ThreadPoolBuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Reason::Io(error) => Some(error),
            Reason::Global | Reason::Member => None,
        }
    }
}

impl From<io::Error> for ThreadPoolBuildError {
    fn from(error: io::Error) -> Self {
        Self(Reason::Io(error))
    }
}
