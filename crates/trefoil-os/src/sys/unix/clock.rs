//! The kernel's clocks: the one that all processes of a machine share, and others that have
//! numbers.
//!
//! `Instant` uses the shared clock, but does not return its value. rustix would, but it reads the
//! kernel's vDSO by itself, which does not exist under Valgrind: a program that makes a process
//! pool would crash.
//!
//! - **Y92** `clock_gettime` writes into a local, or fails for a number that names no clock; it has
//!   no other precondition.
//!
//! Tests: `tests/process/calls.rs` (timeouts), `sys::thread_clock`.
#![allow(unsafe_code)]

use std::time::Duration;

use libc::clockid_t;

/// The clock that all processes share, and that `Instant` uses. (macOS's `CLOCK_MONOTONIC` is
/// another one: it goes on while the machine sleeps, and counts microseconds.)
#[cfg(target_vendor = "apple")]
const SHARED: clockid_t = libc::CLOCK_UPTIME_RAW;
#[cfg(not(target_vendor = "apple"))]
const SHARED: clockid_t = libc::CLOCK_MONOTONIC;

/// The time since a moment that is the same in every process.
#[inline]
pub fn monotonic() -> Duration {
    read(SHARED).unwrap_or_default()
}

/// The processor time of this process.
#[inline]
pub fn of_process() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// The time on the clock with this number. `None`: there is none.
#[inline]
pub fn read(clock: clockid_t) -> Option<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: Y92: the time is a local variable.
    let error = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (error == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
