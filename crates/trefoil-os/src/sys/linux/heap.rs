//! The heap of this process.
//!
//! - **Y73** `malloc_trim` may be called on any thread at any time.
//!
//! Tests: `tests/process/crashes.rs::names_hold_up_nobody`.
#![allow(unsafe_code)]

/// Returns freed memory to the system that the C library would keep. (Of another allocator: it is
/// not touched.)
pub fn give_back() {
    #[cfg(all(target_env = "gnu", not(miri)))]
    // SAFETY: Y73: a call with a number.
    unsafe {
        libc::malloc_trim(0)
    };
}
