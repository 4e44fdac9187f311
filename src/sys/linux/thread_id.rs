//! The system's number of a thread.

/// The calling thread's, as the system's own tools show it.
pub(crate) fn mine() -> u64 {
    rustix::thread::gettid().as_raw_nonzero().get() as u64
}
