//! The error of a new pool that has not got all of its threads.
//!
//! Tests: `tests/thread/pool.rs::{a_pool_without_its_threads_says_which_was_refused,
//! a_refused_thread_is_an_error_and_leaves_nothing}`.

use std::error::Error;
use std::{fmt, io};

/// The system has refused the thread in place `at` of `width`.
pub(super) fn no_thread(at: usize, width: usize, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), NoThread { at, width, error })
}

#[derive(Debug)]
struct NoThread {
    at: usize,
    width: usize,
    error: io::Error,
}

impl fmt::Display for NoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, width, error } = self;
        write!(
            f,
            "the system refuses thread {} of a pool of {width}: {error}. Ask for fewer threads, or \
             for smaller stacks (`stack_size`); or raise the limit: `ulimit -u`, a container's \
             limit of processes, or memory",
            at + 1
        )
    }
}

impl Error for NoThread {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
