//! The kernel's clocks: the one that all processes of a machine share, and others that have
//! numbers.
//!
//! `Instant` uses the shared clock, but does not return its value. rustix would, but it reads the
//! kernel's vDSO by itself, which does not exist under Valgrind: a program that makes a process
//! pool would crash.
//!
//! - **Y92** `clock_gettime` writes into a local, or fails for a number that names no clock; it has
//!   no other precondition. So does `getrusage`, which fails for nobody's number.
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

/// The processor time of the child processes of this one that it has waited for, and of theirs.
#[cfg(feature = "processes")]
pub fn of_children() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: Y92: it writes into a local variable.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) } != 0 {
        return Duration::ZERO;
    }
    // SAFETY: Y92: it consists of numbers, which were zero before.
    let usage = unsafe { usage.assume_init() };
    [usage.ru_utime, usage.ru_stime]
        .map(|time| {
            Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
        })
        .iter()
        .sum()
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
