//! The clock that all processes of a machine have in common.
//!
//! `Instant` is made of it, but gives no number. rustix would; it reads the kernel's page of functions by
//! itself, which is not there under Valgrind: a program that makes a process pool would crash.
//!
//! - **Y92** `clock_gettime` of the monotonic clock writes into a local, and has no other precondition.
#![allow(unsafe_code)]

use std::time::Duration;

/// The time since some moment that is the same in every process.
pub(crate) fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: Y92: what is written is in this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
