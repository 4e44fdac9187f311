//! The system's number of a thread.
//!
//! - **Y45** Both calls are for the calling thread, which is alive; the first writes to a local.
#![allow(unsafe_code)]

/// The calling thread's, as the system's own tools show it.
#[cfg(target_vendor = "apple")]
pub(crate) fn mine() -> u64 {
    let mut number = 0;
    // SAFETY: Y45: 0 stands for the calling thread, and what is written is in this frame.
    unsafe { libc::pthread_threadid_np(0, &raw mut number) };
    number
}

/// The calling thread's, as the system's own tools show it.
#[cfg(target_os = "freebsd")]
pub(crate) fn mine() -> u64 {
    // SAFETY: Y45: it has no precondition.
    let number = unsafe { libc::pthread_getthreadid_np() };
    u64::from(number.cast_unsigned())
}
