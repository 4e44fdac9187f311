//! The system's number of a thread.
//!
//! - **Y31** `gettid` takes nothing, returns a number and cannot fail.
//!
//! Tests: `sys::thread_clock`.
#![allow(unsafe_code)]

/// The number of the calling thread, as the system's tools show it.
#[inline]
pub fn mine() -> u64 {
    // SAFETY: Y31. (The C library has a function only since 2020.)
    let number = unsafe { libc::syscall(libc::SYS_gettid) };
    number as u64
}
