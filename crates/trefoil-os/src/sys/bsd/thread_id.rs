//! The system's number of a thread.
//!
//! - **Y45** Both calls are about the calling thread, which is alive; the first writes to a local
//!   variable.
//!
//! Tests: not run yet.
#![allow(unsafe_code)]

/// The number of the calling thread, as the system's own tools show it.
#[cfg(target_vendor = "apple")]
#[inline]
pub fn mine() -> u64 {
    let mut number = 0;
    // SAFETY: Y45: 0 stands for the calling thread, and the number is a local variable.
    unsafe { libc::pthread_threadid_np(0, &raw mut number) };
    number
}

/// The number of the calling thread, as the system's own tools show it.
#[cfg(target_os = "freebsd")]
#[inline]
pub fn mine() -> u64 {
    // SAFETY: Y45.
    let number = unsafe { libc::pthread_getthreadid_np() };
    u64::from(number.cast_unsigned())
}
