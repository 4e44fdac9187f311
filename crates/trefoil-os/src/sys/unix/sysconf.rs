//! Numbers that a system has chosen: the size of its pages, the length of its ticks.
//!
//! - **Y93** `sysconf` returns a number for a name that it knows, or -1.
//!
//! Tests: `sys::large_pages`, `process::pages::raw_arena`, `process::parent::startup_watch`.
#![allow(unsafe_code)]

/// How many bytes a page has. A mapping may begin at multiples of this.
#[inline]
pub fn page_size() -> usize {
    number(libc::_SC_PAGESIZE)
}

/// How many ticks the kernel counts in a second of processor time.
#[cfg(target_os = "linux")]
pub fn ticks_per_second() -> u64 {
    number(libc::_SC_CLK_TCK) as u64
}

/// POSIX has had both names since 1993, so the call does not fail.
fn number(name: libc::c_int) -> usize {
    // SAFETY: Y93.
    let number = unsafe { libc::sysconf(name) };
    usize::try_from(number).unwrap_or(1)
}
