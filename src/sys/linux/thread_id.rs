//! The system's number of a thread.

/// The number of the calling thread, as the system's tools show it.
pub(crate) fn mine() -> u64 {
    rustix::thread::gettid().as_raw_nonzero().get() as u64
}
